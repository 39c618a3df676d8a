"""Training of one network, from a cache of signals and a table of labels. Imports the root files and `store`."""

"""Training one network from a cache of signals and a table of labels that it is given.

Imports the root files and `store`.
"""

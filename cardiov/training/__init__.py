"""Training of one network, from a cache of signals and a table of labels. Imports the root files and `store`."""

import os

# OpenMP reads it when torch loads it: threads that spin while they wait take the cores of others, which slows small networks
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

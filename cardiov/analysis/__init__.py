"""Statistics: tables in, tables out; no signal, no network.

Imports the root files but `model`, `store`, and the calibration and sets of `scoring`.
"""

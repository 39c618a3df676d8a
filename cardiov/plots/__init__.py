"""Figures: tables in, :class:`matplotlib.figure.Figure` out; no statistics and no torch.

Imports the root files that need no torch, `store` and `ecg`.
"""

"""Figures: tables in, :class:`matplotlib.figure.Figure` out, unknown to pyplot; no statistics and no torch.

Imports the root files that need no torch, `store` and `ecg`. Every function of a figure takes its title and is `style.styled`.
"""

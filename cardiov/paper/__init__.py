"""The paper's side: executing notebooks, reproduced against published figures, the report, and make's commands.

Imports any wing; only the command line imports it.
"""

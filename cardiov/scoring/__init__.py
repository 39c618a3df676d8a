"""The instrument: critical value, probabilities, prediction set, warnings and heat of one ECG or of many.

Imports the root files, `store` and `ecg`, and nothing of the study.
"""

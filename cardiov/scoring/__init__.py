"""The instrument: critical value, probabilities, prediction set, warnings and heat of one ECG or of many."""

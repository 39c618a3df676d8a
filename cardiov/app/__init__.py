"""The page "Score my ECG" and the report of scored ECGs.

Imports `scoring`, `ecg`, `plots`, `store` and the demo's examples; nothing imports it.
"""

"""The page "Score my ECG" and the report of scored ECGs."""

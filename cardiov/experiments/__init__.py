"""The study's runs: many trainings, the search, disturbed signals, heat, LUDB, rereading and the shipped network."""

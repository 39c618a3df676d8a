"""The simulator: a heart, its rhythm, the recorder and the hospital, written as a data set in PTB-XL's layout."""

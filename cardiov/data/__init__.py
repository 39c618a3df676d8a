"""Data sets: PTB-XL and LUDB, how they are downloaded and verified, and the cache of prepared signals."""

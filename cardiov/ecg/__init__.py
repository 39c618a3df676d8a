"""One ECG: reading a file as twelve leads in mV, checks, filters. Imports only `errors`."""

"""One ECG: reading any file as twelve leads in mV, checking, filtering. Imports only `errors`."""

"""What is kept: whole files, results and how they are read, provenance, parameters. Imports only `errors`."""

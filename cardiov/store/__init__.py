"""What is kept: whole files, results and how they are read, provenance, parameters, templates. Imports only `errors`."""

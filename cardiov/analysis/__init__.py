"""Statistics: tables in, tables out; no signal, no network."""

"""Where a controller keeps what must outlive it: a port, and its SQLite and in-memory adapters."""

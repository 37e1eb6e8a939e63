"""Contracts: what must connect and what must not, declared in a file and held against reality. Pure but for
:func:`.reading.load`."""

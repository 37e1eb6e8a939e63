"""Addresses of this machine that tests share."""

#: Loopback where servers listen that are away for a while and come back to the same port. Whoever dials on
#: loopback does so from 127.0.0.1, so that no connection of another test takes the port in the meantime.
COMES_BACK = "127.0.2.1"

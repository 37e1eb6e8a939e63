"""The far end of a two-ended probe: a watch beside a service, and listeners of our own where asked for.

:mod:`watch` puts the parts together; each part keeps what it saw until the next look and gives its sockets
back when it is closed. Nothing here decides what anything means.
"""

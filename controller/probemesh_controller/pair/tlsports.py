"""Ports whose number says that TLS is spoken there from the first byte: there, and there only, a handshake
troubles nobody."""

_KNOWN = (443, 465, 563, 636, 832, 853, 989, 990, 992, 993, 995, 3269, 5061, 5671, 5986, 6443, 6514, 6697)
_CUSTOMARY = (4443, 5443, 7443, 8443, 8883, 9443, 10250, 10443)

TLS_PORTS = frozenset((*_KNOWN, *_CUSTOMARY))

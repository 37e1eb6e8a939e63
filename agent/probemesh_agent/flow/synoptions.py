"""Which options this host's kernel puts into the SYNs that it sends: by its own settings, for a SYN that was
sent shows them to nobody."""

import contextlib
from pathlib import Path

_SETTINGS = (
    ("sack", "tcp_sack"),
    ("ts", "tcp_timestamps"),
    ("wscale", "tcp_window_scaling"),
)
_FOLDER = Path("/proc/sys/net/ipv4")  # of IPv6 as well


def syn_options() -> tuple[str, ...]:
    """Empty where they cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return tuple(word for word, name in _SETTINGS if int((_FOLDER / name).read_text()) > 0)
    return ()

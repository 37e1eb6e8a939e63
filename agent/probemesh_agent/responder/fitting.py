"""Accounts that fit into one message: what is too much of one is left out and said, the least telling first.
Pure."""

from dataclasses import replace
from typing import Any, Final

from probemesh_shared.model import WatchDetail
from probemesh_shared.wire.sizes import size_of

#: A row larger than the window of results (256 KiB) would lose its whole account on the way.
MOST_BYTES: Final = 240 * 1024
_FIRST_TO_GO: Final = ("packets", "connections", "accepted", "half_open", "datagrams", "listeners")
_OF_EACH = 5  # tag and length


def fitted(account: WatchDetail) -> WatchDetail:
    """The account itself, where it fits."""
    over = size_of(account) - MOST_BYTES
    changes: dict[str, Any] = {}
    said: list[str] = []
    for name in _FIRST_TO_GO:
        items = getattr(account, name)
        kept = len(items)
        while over > 0 and kept:
            kept -= 1
            over -= size_of(items[kept]) + _OF_EACH
        if kept < len(items):
            changes[name] = items[:kept]
            said.append(f"{len(items) - kept} {name.replace('_', '-')} more did not fit into this account")
    return replace(account, **changes, problems=(*account.problems, *said)) if changes else account

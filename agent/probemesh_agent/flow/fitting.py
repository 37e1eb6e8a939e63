"""A detail that fits into one message: what is said twice, and what a flood left, goes first. Pure."""

from dataclasses import replace

from probemesh_shared.model import FlowDetail, ShotSeen
from probemesh_shared.wire.sizes import size_of

#: Of the 256 KiB of a window, with room for the row around it.
MOST_BYTES = 220 * 1024


def fitting(detail: FlowDetail, most: int = MOST_BYTES) -> FlowDetail:
    """The detail itself, nearly always. Words for people go first, outcomes never."""
    for slimmer in (_wordless, _brief, _bare, _barest):
        if size_of(detail) <= most:
            return detail
        detail = replace(detail, shots=tuple(slimmer(one) for one in detail.shots))
    return detail


def _wordless(seen: ShotSeen) -> ShotSeen:
    return seen if seen.failure is None else replace(seen, failure=replace(seen.failure, detail=""))


def _brief(seen: ShotSeen) -> ShotSeen:
    answer = seen.answer[:32] if seen.answer is not None else None
    return replace(seen, errors=seen.errors[:1], replies=seen.replies[:1], answer=answer)


def _bare(seen: ShotSeen) -> ShotSeen:
    failure = replace(seen.failure, icmp=None) if seen.failure is not None else None
    return replace(seen, failure=failure, replies=(), answer=None, local_address=None, mss=None, pmtu=None)


def _barest(seen: ShotSeen) -> ShotSeen:
    return replace(seen, failure=None, errors=())

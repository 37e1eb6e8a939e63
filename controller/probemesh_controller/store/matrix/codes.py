"""The words of slots as the numbers that stand in files. Numbers are never given anew: a word that goes
leaves a gap, a new one takes the next."""

from typing import Final

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.words import FailureKind, SlotState

from probemesh_controller.store.matrix.port import SlotRow

#: A row as it is kept: number, at_ns, flags, rtt_us, sent, lost, failure.
Kept = tuple[int, int, int, int | None, int, int, int]

STATES: Final = (
    SlotState.OK,
    SlotState.FAILED,
    SlotState.TIMED_OUT,
    SlotState.DENIED,
    SlotState.MISSED,
    SlotState.AGENT_LOST,
)
#: Of equally common states the one that stands first here is shown.
WORST_FIRST: Final = (1, 2, 3, 5, 4, 0)

FAILURES: Final = {
    FailureKind.TIMEOUT: 1,
    FailureKind.REFUSED: 2,
    FailureKind.RESET: 3,
    FailureKind.CLOSED: 4,
    FailureKind.UNREACHABLE: 5,
    FailureKind.PROHIBITED: 6,
    FailureKind.NO_ROUTE: 7,
    FailureKind.TOO_BIG: 8,
    FailureKind.NO_SUCH_NAME: 9,
    FailureKind.NO_ADDRESS: 10,
    FailureKind.NAME_SERVER_FAILED: 11,
    FailureKind.TLS_ALERT: 12,
    FailureKind.TLS_PROTOCOL: 13,
    FailureKind.BAD_ANSWER: 14,
    FailureKind.STATUS_UNEXPECTED: 15,
    FailureKind.BODY_UNEXPECTED: 16,
    FailureKind.ANSWER_UNEXPECTED: 17,
    FailureKind.DENIED: 18,
    FailureKind.OWN_ADDRESS: 19,
    FailureKind.NOT_ADDRESSABLE: 20,
    FailureKind.UNSUPPORTED: 21,
    FailureKind.LOCAL_FILTER: 22,
    FailureKind.LOCAL_RESOURCE: 23,
    FailureKind.AGENT_STARVED: 24,
    FailureKind.AGENT_LOST: 25,
    FailureKind.CANCELLED: 26,
    FailureKind.DEADLINE: 27,
    FailureKind.INTERNAL: 28,
}

#: The flags of a row: its state in the lowest three bits, then these.
STATE, SILENT, RETRIED, FILLED = 7, 8, 16, 32

_STATE_CODES = {state: code for code, state in enumerate(STATES)}
_FAILURE_WORDS = {code: kind for kind, code in FAILURES.items()} | {0: None}
_FAILURE_CODES = {None: 0} | FAILURES
_MOST_RTT_US = (1 << 32) - 1
_MOST_COUNT = (1 << 16) - 1
_MOST = 1 << 62


def kept(row: SlotRow) -> Kept:
    """Raises InvalidRequest for what cannot be kept; counts above 65,535 and round trips above 71 minutes are
    cut."""
    number, at_ns, state, rtt_ms, sent, lost, failure, retried, filled = row
    if not (0 <= number < _MOST and 0 <= at_ns < _MOST and sent >= 0 and lost >= 0):
        raise InvalidRequest("a slot's number, time or counts are out of range")
    flags = _STATE_CODES[state]
    if retried:
        flags |= RETRIED
    if filled:
        flags |= FILLED
    rtt_us = None
    if rtt_ms is None:
        flags |= SILENT
    elif 0 <= rtt_ms < 1e300:
        rtt_us = min(round(rtt_ms * 1000), _MOST_RTT_US)
    else:
        raise InvalidRequest("a slot's round trip is out of range")
    return (
        number,
        at_ns,
        flags,
        rtt_us,
        min(sent, _MOST_COUNT),
        min(lost, _MOST_COUNT),
        _FAILURE_CODES[failure],
    )


def row_of(found: Kept) -> SlotRow:
    """A failure that this program has no word for (a newer one wrote it) is ``internal``."""
    number, at_ns, flags, rtt_us, sent, lost, failure = found
    return SlotRow(
        number,
        at_ns,
        STATES[flags & STATE],
        None if rtt_us is None else rtt_us / 1000,
        sent,
        lost,
        _FAILURE_WORDS.get(failure, FailureKind.INTERNAL),
        bool(flags & RETRIED),
        bool(flags & FILLED),
    )


def replaces(new: Kept, old: Kept) -> bool:
    """Of two rows of one slot: whether the later one takes the place of what is there."""
    return bool(old[2] & FILLED) and not new[2] & FILLED

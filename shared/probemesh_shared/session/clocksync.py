"""The clock exchange: NTP's four timestamps (RFC 5905, section 8), one exchange at a time."""

from probemesh_shared.session.events import ClockMeasured
from probemesh_shared.session.frames import ClockReply, ClockRequest


class ClockSync:
    """One side's questions to the other's wall clock; only a reply to the open question counts."""

    def __init__(self) -> None:
        self._asked: int | None = None

    def ask(self, wall_ns: int) -> ClockRequest:
        """A new question; one that is still open is given up."""
        self._asked = wall_ns
        return ClockRequest(wall_ns)

    def conclude(self, reply: ClockReply, wall_ns: int) -> ClockMeasured | None:
        """What the reply that came at ``wall_ns`` tells; None where it fits no question or a clock was set.

        Offset is ((t2 - t1) + (t3 - t4)) / 2, uncertainty half the round trip (t4 - t1) - (t3 - t2)."""
        if reply.request_sent_ns != self._asked:
            return None
        self._asked = None
        there, back = reply.received_ns - reply.request_sent_ns, reply.sent_ns - wall_ns
        round_trip = (wall_ns - reply.request_sent_ns) - (reply.sent_ns - reply.received_ns)
        if round_trip < 0 or reply.sent_ns < reply.received_ns:
            return None
        return ClockMeasured(offset_ms=(there + back) / 2e6, uncertainty_ms=round_trip / 2e6)

"""What a trace says hop by hop, in a form for people and for diagnosis. Pure.

Nothing here turns silence into a fault: a router that never answers may pass on everything else, and one
that answers now and then holds its answers back, not the packets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from probemesh_shared.icmpcodes import is_time_exceeded, meaning
from probemesh_shared.model import HopAnswer, TraceDetail, TraceHop

#: TTLs that hosts and routers begin with.
_INITIAL = (64, 128, 255)
#: Hops by which the way back has to be longer or shorter than the way there before it is told.
_UNEQUAL = 2


class Mark(StrEnum):
    """What is worth a look at one hop."""

    TARGET = "target"  # the target itself answered
    SILENT = "silent"  # nothing came back, which proves nothing
    REFUSES = "refuses"  # says that packets go no further
    REWRITTEN = "rewritten"  # quotes another packet than was sent: NAT, or the like, before it
    MSS_CHANGED = "mss-changed"  # quotes another MSS than the hop before
    MTU = "mtu"  # says that a packet is too large for its next link
    DESTINATION_NAT = "destination-nat"  # the target's own address says that hops ran out: it is a router's
    STAND_IN = "stand-in"  # answered in the target's name at a hop that is not the target
    LOOP = "loop"  # an address that stood at an earlier hop
    SEVERAL = "several"  # more than one router answered: several ways
    HELD_BACK = "held-back"  # fewer answers than from hops behind it: it limits its answers
    RETURN_DIFFERS = "return-differs"  # its answers came by another number of hops


@dataclass(frozen=True, slots=True)
class HopView:
    """``lost`` of ``sent`` packets got no answer. ``note`` says for people what the marks mean here.
    ``return_hops``: hops on the way back, estimated from the TTL of the answer."""

    hop: int
    sent: int
    lost: int
    addresses: tuple[str, ...] = ()
    best_ms: float | None = None
    median_ms: float | None = None
    worst_ms: float | None = None
    return_hops: int | None = None
    marks: tuple[Mark, ...] = ()
    note: str = ""

    @property
    def loss_ratio(self) -> float | None:
        return self.lost / self.sent if self.sent else None


def hop_views(detail: TraceDetail, target: str | None) -> tuple[HopView, ...]:
    """``target`` is the address that was traced."""
    bare = target.partition("%")[0] if target is not None else None
    seen: dict[str, int] = {}
    views: list[HopView] = []
    mss: int | None = None
    for place, hop in enumerate(detail.hops):
        reading = _Reading(detail, hop, bare, detail.hops[place + 1 :], seen, mss, not views)
        views.append(reading.view())
        mss = reading.quoted_mss or mss
        for address in reading.routers:
            seen.setdefault(address, hop.hop)
    return tuple(views)


def last_answered(detail: TraceDetail) -> TraceHop | None:
    """The last hop on the way at which packets are known to have arrived."""
    passed = [hop for hop in detail.hops if any(ran_out(answer) for answer in hop.answers)]
    return passed[-1] if passed else None


def ran_out(answer: HopAnswer) -> bool:
    """A router says that the packet's hops ran out at it."""
    error = answer.icmp
    return error is not None and is_time_exceeded(error.family, error.type, error.code)


def loop_of(detail: TraceDetail) -> tuple[str, ...]:
    """Addresses that take turns at the end of a trace: at least twice each, nothing else after them."""
    names = [hop.answers[0].address for hop in detail.hops if hop.answers and ran_out(hop.answers[0])]
    for length in (2, 3, 4):
        tail = names[-2 * length :]
        if len(tail) == 2 * length and tail[:length] == tail[length:] and len(set(tail[:length])) == length:
            return tuple(name for name in tail[:length] if name is not None)
    return ()


@dataclass(slots=True)
class _Reading:
    """One hop beside the others."""

    detail: TraceDetail
    hop: TraceHop
    target: str | None
    later: Sequence[TraceHop]
    seen: dict[str, int]
    mss: int | None
    is_first: bool

    @property
    def routers(self) -> list[str]:
        return [a.address for a in self.hop.answers if ran_out(a) and a.address is not None]

    @property
    def quoted_mss(self) -> int | None:
        return next((a.quoted_mss for a in self.hop.answers if a.quoted_mss is not None), None)

    @property
    def _is_target(self) -> bool:
        return any(not ran_out(a) and a.address == self.target for a in self.hop.answers)

    def view(self) -> HopView:
        answers = self.hop.answers
        times = sorted(a.rtt_ms for a in answers if a.rtt_ms is not None)
        found = list(self._marks())
        return HopView(
            self.hop.hop,
            self.hop.sent,
            max(0, self.hop.sent - len(answers)),
            tuple(dict.fromkeys(a.address for a in answers if a.address is not None)),
            times[0] if times else None,
            median(times) if times else None,
            times[-1] if times else None,
            self._return_hops,
            tuple(mark for mark, _ in found),
            "; ".join(note for _, note in found if note),
        )

    def _marks(self) -> list[tuple[Mark, str]]:
        if not self.hop.answers:
            return [(Mark.SILENT, "")]
        found = [*self._who(), *self._quoted()]
        if (error := self._error("mtu")) is not None and error.mtu:
            found.append((Mark.MTU, f"MTU {error.mtu} behind {error.address or 'it'}"))
        missing = self.hop.sent - len(self.hop.answers)
        if missing > 0 and any(len(hop.answers) >= hop.sent for hop in self.later):
            found.append((Mark.HELD_BACK, "limits its own answers; hops behind it lose nothing"))
        back = self._return_hops
        if back is not None and abs(back - self.hop.hop) >= _UNEQUAL:
            found.append((Mark.RETURN_DIFFERS, f"answers come back by some {back} hops"))
        return found

    def _who(self) -> list[tuple[Mark, str]]:
        found: list[tuple[Mark, str]] = []
        routers = self.routers
        earlier = [(name, self.seen[name]) for name in dict.fromkeys(routers) if name in self.seen]
        if earlier:
            found.append((Mark.LOOP, f"{earlier[0][0]} again, as at hop {earlier[0][1]}"))
        if len(set(routers)) > 1:
            found.append((Mark.SEVERAL, f"{len(set(routers))} routers answer: several ways"))
        if self.target in routers:
            words = "the target's address lets hops run out: a router with destination NAT has it"
            found.append((Mark.DESTINATION_NAT, words))
        if self._is_target:
            found.append((Mark.TARGET, ""))
            if self.detail.stand_in is not None and self.hop.hop == self.detail.distance:
                found.append((Mark.STAND_IN, self._stand_in()))
        elif (error := self._error("refusal")) is not None and error.icmp is not None:
            said = meaning(error.icmp.family, error.icmp.type, error.icmp.code)
            found.append(
                (Mark.REFUSES, f"{error.address or 'somebody'}: {said.words if said else 'refused'}")
            )
        return found

    def _stand_in(self) -> str:
        return f"answers in the target's place: other packets pass {self.detail.stand_in} here and go on"

    def _quoted(self) -> list[tuple[Mark, str]]:
        found: list[tuple[Mark, str]] = []
        changed = sorted({word for a in self.hop.answers for word in a.changed} - {"mss"})
        if changed and self._is_new(changed):
            words = "NAT or the like before it" if changed != ["options"] else "options taken out before it"
            found.append((Mark.REWRITTEN, f"{words} (quotes another {', '.join(changed)})"))
        mine = self.quoted_mss
        first = self.is_first and any("mss" in a.changed for a in self.hop.answers)
        if mine is not None and ((self.mss is not None and mine != self.mss) or first):
            found.append((Mark.MSS_CHANGED, f"MSS set to {mine} before it"))
        return found

    def _is_new(self, changed: list[str]) -> bool:
        before = [hop for hop in self.detail.hops if hop.hop < self.hop.hop]
        return not any(set(changed) & set(a.changed) for hop in before for a in hop.answers)

    def _error(self, wanted: str) -> HopAnswer | None:
        for answer in self.hop.answers:
            if answer.icmp is None or ran_out(answer):
                continue
            if (answer.mtu is not None) is (wanted == "mtu") and answer.address != self.target:
                return answer
        return None

    @property
    def _return_hops(self) -> int | None:
        ttl = next((a.ttl for a in self.hop.answers if a.ttl is not None and ran_out(a)), None)
        if ttl is None:
            return None
        initial = next((one for one in _INITIAL if ttl <= one), 255)
        return initial - ttl + 1


__all__ = ["HopView", "Mark", "hop_views", "last_answered", "loop_of", "ran_out"]

"""What traces and control probes say that were sent after a failure: where packets were last seen, and
whether a vantage point's own link is sick. Facts alone; what follows from them is :mod:`located`'s affair."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from probemesh_shared.hopview import last_answered, loop_of, ran_out
from probemesh_shared.model import HopAnswer, Measurement, TargetResult, TraceDetail, TraceHop, Vantage
from probemesh_shared.words import NOT_MEASURED, FailureKind, Family, Kind, Outcome, Transport

#: From this on an ICMP error was waited for: a router asks for its neighbour three times, a second apart.
_WAITED_MS = 900.0


@dataclass(frozen=True, slots=True)
class Course:
    """One trace from one vantage point."""

    id: str
    source: str
    address: str
    port: int | None
    transport: Transport
    detail: TraceDetail

    @property
    def last(self) -> TraceHop | None:
        """The last hop at which packets are known to have arrived."""
        return last_answered(self.detail)

    @property
    def last_address(self) -> str | None:
        return router_of(self.last)

    @property
    def reached(self) -> bool:
        return self.detail.reached and self.detail.stand_in is None

    @property
    def loop(self) -> tuple[str, ...]:
        """Routers that pass the packets round."""
        return () if self.detail.reached else loop_of(self.detail)

    @property
    def is_mute(self) -> bool:
        """Nobody answered anything."""
        return not any(hop.answers for hop in self.detail.hops) and not self.detail.reached

    def hop_of(self, router: str | None) -> int | None:
        """Where that router let packets run out."""
        for hop in self.detail.hops:
            if router is not None and any(a.address == router and ran_out(a) for a in hop.answers):
                return hop.hop
        return None

    def behind(self, router: str | None) -> str | None:
        """Who answers at the hop behind that router; the target too."""
        place = self.hop_of(router)
        following = (hop for hop in self.detail.hops if place is not None and hop.hop == place + 1)
        answers = [answer for hop in following for answer in hop.answers]
        on_the_way = [a for a in answers if ran_out(a) or a.address == self.address]
        return on_the_way[0].address if on_the_way else None

    def waited_for(self) -> HopAnswer | None:
        """A "host unreachable" that came only after a router had asked for its neighbour."""
        for hop in self.detail.hops:
            for answer in hop.answers:
                error, after_ms = answer.icmp, answer.rtt_ms or 0.0
                if error is None or answer.address in (self.address, self.detail.local_address):
                    continue
                code = (1, 3) if error.family is Family.IPV6 else (3, 1)
                if (error.type, error.code) == code and after_ms >= _WAITED_MS:
                    return answer
        return None


@dataclass(frozen=True, slots=True)
class Control:
    """What a vantage point got from somewhere else. ``reached`` None: it was not looked."""

    id: str
    source: str
    what: str
    reached: bool | None


@dataclass(frozen=True, slots=True)
class Followed:
    """All that was asked afterwards. ``impaired``: vantage points whose own link is sick, as far as was
    seen; ``starved``: those that got no processor, with what they said of it."""

    courses: tuple[Course, ...] = ()
    controls: tuple[Control, ...] = ()
    impaired: frozenset[str] = frozenset()
    starved: Mapping[str, str] | None = None

    def of(self, source: str) -> tuple[Course, ...]:
        return tuple(course for course in self.courses if course.source == source)

    def controls_of(self, source: str) -> tuple[Control, ...]:
        return tuple(one for one in self.controls if one.source == source)


def router_of(hop: TraceHop | None) -> str | None:
    """The address that let packets run out there."""
    if hop is None:
        return None
    return next((answer.address for answer in hop.answers if ran_out(answer)), None)


def followed(result: TargetResult, healthy: frozenset[str]) -> Followed:
    """``healthy`` are vantage points that reached anything in the run: nobody is sick who did."""
    courses: list[Course] = []
    controls: list[Control] = []
    starved: dict[str, str] = {}
    for vantage in sorted(result.vantages, key=lambda one: one.agent):
        if vantage.is_target:
            continue
        rows = (*vantage.measurements, *vantage.followed)
        courses += _courses(vantage, rows)
        controls += [_control(vantage, row) for row in vantage.followed if row.kind is not Kind.TRACE]
        if (words := _starved(vantage)) is not None:
            starved[vantage.agent] = words
    sick = {one.source for one in controls} - healthy
    impaired = frozenset(source for source in sick if _is_sick(source, courses, controls))
    return Followed(tuple(courses), tuple(controls), impaired, starved)


def _courses(vantage: Vantage, rows: Iterable[Measurement]) -> list[Course]:
    found = []
    for row in rows:
        detail = row.detail
        if isinstance(detail, TraceDetail) and row.address is not None and row.outcome not in NOT_MEASURED:
            port = None if detail.transport is Transport.ICMP else row.port
            where = f"[{row.address}]" if ":" in row.address else row.address
            tail = f":{port}" if port else ""
            name = f"{vantage.agent}/trace-{detail.transport}/{where}{tail}"
            found.append(Course(name, vantage.agent, row.address, port, detail.transport, detail))
    return found


def _control(vantage: Vantage, row: Measurement) -> Control:
    looked = row.outcome not in NOT_MEASURED and row.outcome is not Outcome.NAME_FAILS
    # a refusal is an answer: the way there and back holds
    answered = row.outcome in (Outcome.OK, Outcome.REFUSED, Outcome.RESET, Outcome.ANSWER_UNEXPECTED)
    return Control(
        f"{vantage.agent}/control/{row.target}", vantage.agent, row.target, answered if looked else None
    )


def _is_sick(source: str, courses: Sequence[Course], controls: Sequence[Control]) -> bool:
    """Not even a known-good target answers it, and no router on any way."""
    mine = [one.reached for one in controls if one.source == source and one.reached is not None]
    traced = [course for course in courses if course.source == source]
    return bool(mine) and not any(mine) and all(course.is_mute for course in traced)


def _starved(vantage: Vantage) -> str | None:
    for row in vantage.measurements:
        for failure in (row.failure, *(sample.failure for sample in row.samples)):
            if failure is not None and failure.kind is FailureKind.AGENT_STARVED:
                return failure.detail
    return None


#: Nothing was asked afterwards.
NOTHING = Followed()

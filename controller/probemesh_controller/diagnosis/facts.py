"""Second stage: observations → facts about one TARGET, each true, false or not checked (None).

A *question* is one rung at one port, put to every vantage point: who reached it, and the others grouped by
the way in which they did not. Ports whose questions were answered alike by everybody are one question with
many ports.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from probemesh_shared.model import IcmpError, Target, TargetResult, Vantage
from probemesh_shared.outcomes import rung_order
from probemesh_shared.words import FailureKind, Kind

from probemesh_controller.diagnosis.courses import NOTHING, Followed, followed
from probemesh_controller.diagnosis.observations import Manner, Observation, Source

_GroupKey = tuple[Manner, bool, str, int, int, str]

_SERVER_SPOKE = (FailureKind.NO_SUCH_NAME, FailureKind.NO_ADDRESS, FailureKind.NAME_SERVER_FAILED)


@dataclass(frozen=True, slots=True)
class Group:
    """Vantage points that failed in the same way, by the same hand. ``seen`` are the failing observations."""

    manner: Manner
    connecting: bool
    icmp: IcmpError | None
    sources: tuple[str, ...]
    seen: tuple[Observation, ...]

    @property
    def sender(self) -> str | None:
        return self.icmp.sender if self.icmp else None

    @property
    def attempts(self) -> int:
        """Of the vantage point that tried least."""
        tries: dict[str, int] = {}
        for one in self.seen:
            tries[one.source] = tries.get(one.source, 0) + one.attempts
        return min(tries.values(), default=0)


@dataclass(frozen=True, slots=True)
class Question:
    """Nobody in ``reached`` is in a group; who failed at several addresses in several ways is in several
    groups; who did not look is in none."""

    kind: Kind
    transport: str
    ports: tuple[int, ...]
    reached: tuple[str, ...]
    groups: tuple[Group, ...]
    held: tuple[Observation, ...]

    def rivals(self, group: Group) -> tuple[Group, ...]:
        """Groups that met the same addresses and saw something else there."""
        mine = {one.address for one in group.seen}
        return tuple(
            other
            for other in self.groups
            if other is not group and any(one.address in mine for one in other.seen)
        )

    def connects(self) -> "Question":
        """The same, asked of the way there alone: who got through to the service has reached it, whatever it
        answered. A name server's address is no alternative to another's."""
        answered = [group for group in self.groups if not group.connecting]
        if not answered or self.kind is Kind.DNS:
            return self
        reached = {*self.reached, *(name for group in answered for name in group.sources)}
        return replace(
            self,
            reached=tuple(sorted(reached)),
            groups=tuple(group for group in self.groups if group.connecting),
            held=(*self.held, *(one for group in answered for one in group.seen)),
        )

    @property
    def lookers(self) -> int:
        return len({*self.reached, *(name for group in self.groups for name in group.sources)})


@dataclass(frozen=True, slots=True)
class NameFacts:
    """Who could turn the name into addresses, and the others by why not. ``asked`` False: it is a literal."""

    asked: bool
    resolved: tuple[Observation, ...] = ()
    failed: Mapping[FailureKind | None, tuple[Observation, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything rules may look at. ``healthy`` are sources that reached anything at all in the run,
    ``quick`` those that are as fast as others to another of its targets."""

    target: Target
    sources: Mapping[str, Source]
    vantages: Mapping[str, Vantage]
    observations: tuple[Observation, ...]
    questions: tuple[Question, ...]
    names: NameFacts
    healthy: frozenset[str] = frozenset()
    quick: frozenset[str] = frozenset()
    followed: Followed = NOTHING

    def is_target(self, sender: str | None) -> bool:
        """The sender is one of the addresses that were probed."""
        return sender is not None and any(one.address == sender for one in self.observations)

    def alive(self, address: str | None) -> bool | None:
        """True where something answered from that address itself; None, not False, where nothing did."""
        return True if self.signs_of_life(address) else None

    def signs_of_life(self, address: str | None) -> tuple[Observation, ...]:
        """Answers that only the holder of the address sends, middleboxes that lie set aside."""
        own = (Manner.HELD, Manner.LATE, Manner.REFUSED, Manner.ANSWERED, Manner.RESET, Manner.CLOSED)
        return tuple(
            one
            for one in self.observations
            if address is not None
            and one.address == address
            and (one.manner in own or (one.manner is Manner.REJECTED and one.sender == address))
        )


def _reach(one: Observation) -> bool | None:
    """Held, broken or not looked, for the question whether a packet and its answer get through."""
    if one.kind is Kind.DNS and one.manner is Manner.NO_NAME:
        return True if one.address is not None and one.failure in _SERVER_SPOKE else None
    return one.held


def _group_key(one: Observation) -> _GroupKey:
    if one.manner is not Manner.REJECTED or one.icmp is None:
        return one.manner, one.connecting, "", -1, -1, ""
    icmp = one.icmp
    return one.manner, one.connecting, icmp.family, icmp.type, icmp.code, icmp.sender or ""


def _question(kind: Kind, transport: str, port: int | None, rows: Iterable[Observation]) -> Question | None:
    by_source: defaultdict[str, list[Observation]] = defaultdict(list)
    for one in rows:
        if _reach(one) is not None:
            by_source[one.source].append(one)
    if not by_source:
        return None
    reached, held = [], []
    failing: defaultdict[_GroupKey, list[Observation]] = defaultdict(list)
    for source, mine in sorted(by_source.items()):
        good = [one for one in mine if _reach(one)]
        if good:
            reached.append(source)
            held.extend(good)
        else:
            for one in _furthest(kind, mine):
                failing[_group_key(one)].append(one)
    groups = tuple(_group(seen) for _, seen in sorted(failing.items()))
    return Question(kind, transport, () if port is None else (port,), tuple(reached), groups, tuple(held))


def _furthest(kind: Kind, mine: Sequence[Observation]) -> Sequence[Observation]:
    """The addresses of a name are alternatives: one that was not got through to, beside one that was, is that
    address's fault and not the port's."""
    if kind is Kind.DNS:
        return mine
    best = max(one.depth for one in mine)
    return [one for one in mine if one.depth == best]


def _group(seen: Sequence[Observation]) -> Group:
    first = seen[0]
    icmp = first.icmp if first.manner is Manner.REJECTED else None
    sources = tuple(sorted({one.source for one in seen}))
    return Group(first.manner, first.connecting, icmp, sources, tuple(seen))


def _pattern(question: Question) -> tuple[object, ...]:
    groups = tuple((group.manner, group.connecting, group.icmp, group.sources) for group in question.groups)
    return question.kind, question.transport, question.reached, groups


def _merge(questions: Iterable[Question]) -> tuple[Question, ...]:
    merged: dict[tuple[object, ...], Question] = {}
    for question in questions:
        key = _pattern(question)
        first = merged.get(key)
        if first is None:
            merged[key] = question
            continue
        groups = tuple(
            replace(a, seen=a.seen + b.seen) for a, b in zip(first.groups, question.groups, strict=True)
        )
        merged[key] = replace(
            first, ports=first.ports + question.ports, held=first.held + question.held, groups=groups
        )
    return tuple(merged.values())


def _questions(observations: Iterable[Observation], ping_counts: bool) -> tuple[Question, ...]:
    asked: defaultdict[tuple[int, str, int], list[Observation]] = defaultdict(list)
    observations = _without_courses(tuple(observations))
    for one in observations:
        if one.address is not None and (ping_counts or one.kind is not Kind.ICMP):
            asked[rung_order(one.kind), one.transport, one.port or 0].append(one)
    found = (
        _question(rows[0].kind, transport, port or None, rows)
        for (_, transport, port), rows in sorted(asked.items())
    )
    return _merge(question for question in found if question is not None)


def _without_courses(observations: Sequence[Observation]) -> Sequence[Observation]:
    """A trace is a question of its own only where nothing else was asked; a search for sizes never is."""
    rest = [one for one in observations if one.kind is not Kind.MTU]
    others = [one for one in rest if one.kind is not Kind.TRACE]
    return others if any(one.held is not None for one in others) else rest


def _is_literal(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _names(target: Target, observations: Sequence[Observation]) -> NameFacts:
    wanted = any(one.manner is Manner.NO_NAME for one in observations)
    if not wanted or (_is_literal(target.host) and target.kind is not Kind.DNS):
        return NameFacts(False, (), {})
    about_name = target.kind is Kind.DNS
    resolved = tuple(
        one
        for one in observations
        if (one.kind is Kind.DNS and one.held)
        or (not about_name and one.address is not None and one.held is not None)
    )
    good = {one.source for one in resolved}
    failed: defaultdict[FailureKind | None, list[Observation]] = defaultdict(list)
    for one in observations:
        if one.manner is Manner.NO_NAME and one.unasked_server is None and one.source not in good:
            failed[one.failure].append(one)
    return NameFacts(True, resolved, {kind: tuple(rows) for kind, rows in failed.items()})


def gather(
    result: TargetResult,
    observations: tuple[Observation, ...],
    sources: Iterable[Source],
    healthy: frozenset[str],
    quick: frozenset[str] = frozenset(),
) -> Facts:
    """All facts of one TARGET. Ping asks a question only where nothing above it was asked, or where a vantage
    point was judged by it (it was asked for by kind)."""
    above = any(rung_order(one.kind) > rung_order(Kind.ICMP) and one.held is not None for one in observations)
    judged = any(vantage.failed_at is Kind.ICMP for vantage in result.vantages)
    after = followed(result, healthy)
    observations = tuple(_unless_impaired(one, after.impaired) for one in observations)
    return Facts(
        target=result.target,
        sources={source.name: source for source in sources},
        vantages={vantage.agent: vantage for vantage in result.vantages if not vantage.is_target},
        observations=observations,
        questions=_questions(observations, judged or not (above or result.target.ports)),
        names=_names(result.target, observations),
        healthy=healthy,
        quick=quick,
        followed=after,
    )


def _unless_impaired(one: Observation, impaired: frozenset[str]) -> Observation:
    """What a vantage point does not hear whose own link is sick says nothing about anybody."""
    if one.source in impaired and one.manner in (Manner.SILENT, Manner.LATE, Manner.REJECTED):
        return replace(one, manner=Manner.NOT_LOOKED)
    return one

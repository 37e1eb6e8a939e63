"""By which addresses the agents of a case dial each other, before and during it. Pure.

Gathered as ICE gathers candidates: configured (``--advertise``, which takes the place of all others), those
of the interfaces, and reflexive ones: those under which the other end, or a responder of ours, saw packets
that this agent sent.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import replace

from probemesh_shared.model import AgentInfo, FlowDetail, ShotSeen, WatchDetail
from probemesh_shared.session.frames import ADVERTISED
from probemesh_shared.words import Family

from probemesh_controller.candidates import readable, usable
from probemesh_controller.pair.case import Asked, Case, End, EndRole, RoundDone, StepDone

_ANY = {Family.IPV4: "0.0.0.0", Family.IPV6: "::"}  # noqa: S104 - what is watched, nothing is bound


def of_family(addresses: tuple[str, ...], family: Family) -> tuple[str, ...]:
    """Those that are asked for, in their order."""
    if family is Family.BOTH:
        return addresses
    version = 4 if family is Family.IPV4 else 6
    return tuple(text for text in addresses if ipaddress.ip_address(text).version == version)


def dialled_by(
    probers: tuple[AgentInfo, ...], target: AgentInfo, fleet: tuple[AgentInfo, ...], family: Family
) -> tuple[str, ...]:
    """Addresses of ``target`` that mean it alone, whoever of ``probers`` dials them, best first."""
    common = readable(target.addresses)
    for prober in probers:
        kept = frozenset(usable(prober, target, fleet))
        common = tuple(text for text in common if text in kept)
    return of_family(common, family)


def watched_address(end: AgentInfo, dialled: tuple[str, ...], family: Family) -> str:
    """The address that a watch is told to be its own: one by which it is dialled, else any of its own, else
    none in particular."""
    own = of_family(readable(end.addresses), family)
    return next(iter((*dialled, *own)), _ANY.get(family, _ANY[Family.IPV4]))


def seen_from(case: Case, done: RoundDone, name: str) -> tuple[str, ...]:
    """Addresses that ``name`` does not know to be its own, from which its packets of this round came."""
    end = case.end(name)
    known = frozenset(readable(end.info.addresses)) | frozenset(end.addresses) if end is not None else ()
    return tuple(text for text in dict.fromkeys(readable(_witnessed(case, done, name))) if text not in known)


def _witnessed(case: Case, done: RoundDone, name: str) -> Iterator[str]:
    """By the other end alone: from elsewhere the same agent may be seen under another address. By the word of
    its responder, whose nonce is known; by a token; by a source port that is that of our shot."""
    other = _other_end(case, name)
    if other is None:
        return
    to_it = [step for step in done.steps if step.step.to == other.name]
    shots = list(_shots(step for step in to_it if step.step.sender == name))
    for shot in shots:
        for reply in shot.replies:
            if reply.valid and other.armed is not None and reply.agent == other.armed.agent:
                yield from (text for text in (reply.seen_address,) if text is not None)
    account = done.look(other.name)
    if account is not None:
        others = _shots(step for step in to_it if step.step.sender != name)
        yield from _in_account(account, shots, list(others), alone={s.step.sender for s in to_it} == {name})


def _other_end(case: Case, name: str) -> End | None:
    ends = [end for end in case.ends if end.role is not EndRole.THIRD]
    if name not in (end.name for end in ends):
        return None
    return next((end for end in ends if end.name != name), None)


def _shots(steps: Iterable[StepDone]) -> Iterator[ShotSeen]:
    for step in steps:
        for row in step.rows:
            if isinstance(row.detail, FlowDetail):
                yield from row.detail.shots


def _in_account(
    account: WatchDetail, shots: list[ShotSeen], others: list[ShotSeen], alone: bool
) -> Iterator[str]:
    # two hosts may take the same port at the same time: then it tells of neither
    ports = {shot.local_port for shot in shots if shot.local_port} - {shot.local_port for shot in others}
    came: dict[str, set[int]] = {}
    for address, port in (
        *((half.address, half.port) for half in account.half_open),
        *((one.address, one.port) for one in account.connections),
    ):
        came.setdefault(address, set()).add(port)
    if alone:  # a token says that it is one of ours; only one was sending
        yield from (one.address for one in account.accepted if one.valid)
        yield from (one.address for one in account.datagrams if one.valid)
    yield from (address for address, theirs in came.items() if _are_ours(theirs, ports))


def _are_ours(theirs: set[int], ports: set[int]) -> bool:
    """Whoever else connects from there, a proxy on the way that opens connections of its own among them, hits
    a port of ours now and then: the half of either is no chance."""
    hits = len(theirs & ports)
    return hits > 0 and 2 * hits >= min(len(theirs), len(ports))


def with_seen(end: End, addresses: tuple[str, ...], asked: Asked) -> End:
    """The end with what was learned of it. Where its addresses were configured, or one was named, those stay
    the only ones by which it is dialled."""
    new = tuple(text for text in addresses if text not in end.reflexive)
    if not new:
        return end
    fixed = ADVERTISED in end.info.capabilities or (end.role is EndRole.TARGET and asked.address is not None)
    dialled = () if fixed else of_family(new, asked.family)
    return replace(end, reflexive=end.reflexive + new, addresses=end.addresses + dialled)

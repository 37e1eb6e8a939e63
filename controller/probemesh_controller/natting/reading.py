"""From what agents tell of an inquiry's flows to sightings, knocks and rungs. Pure.

A reflector's account and the subject's own replies say the same twice: either may be lost.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from probemesh_shared.model import Datagram, FlowDetail, FlowSpec, Measurement, Reply, ShotSeen, WatchDetail
from probemesh_shared.words import NOT_MEASURED, Family

from probemesh_controller.natting.choosing import of_family_only
from probemesh_controller.natting.seen import Endpoint, Knock, Knocker, Reached, Rung, Sighting


@dataclass(frozen=True, slots=True)
class Door:
    """One endpoint of a reflector; ``nonce`` is what its responder answers with."""

    agent: str
    nonce: str
    to: Endpoint


@dataclass(frozen=True, slots=True)
class Told:
    """One flow, and what both ends tell of it. ``accounts`` are the reflectors', by agent. ``first`` is the
    number of its first socket, ``order`` how many datagrams were sent before."""

    spec: FlowSpec
    flow: FlowDetail | None
    accounts: Mapping[str, Sequence[Datagram]]
    first: int = 0
    order: int = 0

    def seen(self) -> dict[int, ShotSeen]:
        return {shot.shot: shot for shot in self.flow.shots} if self.flow is not None else {}


def flow_of(rows: Iterable[Measurement]) -> FlowDetail | None:
    return next((row.detail for row in rows if isinstance(row.detail, FlowDetail)), None)


def datagrams_of(accounts: Iterable[WatchDetail]) -> list[Datagram]:
    """Those that carry the token, with an address that is one."""
    return [one for account in accounts for one in account.datagrams if one.valid and readable(one.address)]


def readable(text: str | None) -> bool:
    """Agents are not trusted with the form of an address either."""
    try:
        ipaddress.ip_address(text or "")
    except ValueError:
        return False
    return True


def _endpoint(address: str, port: int) -> Endpoint:
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return Endpoint(str(parsed), port)


def sightings(
    told: Told, doors: Iterable[Door], local_ports: Mapping[int, int] | None = None
) -> list[Sighting]:
    """One for each shot that a reflector saw. ``local_ports`` of sockets where the flow has not ended yet."""
    by_endpoint = {door.to: door for door in doors}
    ports = _local_ports(told) | dict(local_ports or {})
    seen, found = told.seen(), []
    for number, shot in enumerate(told.spec.shots):
        door = by_endpoint.get(Endpoint(shot.address or "", shot.port))
        if door is None or shot.socket is None:
            continue
        came = _accounted(told.accounts.get(door.agent, ()), number)
        outside = _endpoint(came.address, came.port) if came else _replied(seen.get(number), door)
        if outside is None:
            continue
        socket = told.first + shot.socket
        port = ports.get(shot.socket, shot.source_port)
        ttl = came.ttl if came is not None else None
        found.append(Sighting(socket, port, door.agent, door.to, outside, told.order + number, ttl))
    return found


def _local_ports(told: Told) -> dict[int, int]:
    seen = told.seen()
    return {
        shot.socket: there.local_port
        for number, shot in enumerate(told.spec.shots)
        if shot.socket is not None and (there := seen.get(number)) is not None and there.local_port
    }


def _accounted(datagrams: Sequence[Datagram], number: int) -> Datagram | None:
    return next((one for one in datagrams if one.shot == number), None)


def _replied(seen: ShotSeen | None, door: Door) -> Endpoint | None:
    for reply in seen.replies if seen is not None else ():
        if _is_of(reply, door) and readable(reply.seen_address) and reply.seen_port:
            return _endpoint(reply.seen_address or "", reply.seen_port)
    return None


def _is_of(reply: Reply, door: Door) -> bool:
    return reply.valid and reply.agent == door.nonce


def heard(told: Told, doors: Iterable[Door]) -> set[Endpoint]:
    """From where replies of responders came in, with the responder's own word for who it is."""
    nonces = {door.nonce for door in doors}
    return {
        _endpoint(reply.source or "", reply.source_port)
        for shot in told.seen().values()
        for reply in shot.replies
        if reply.valid and reply.agent in nonces and readable(reply.source)
    }


def knocks_from_other_port(told: Told, door: Door) -> list[Knock]:
    """Replies that were asked for from another port: sent as the responder says, arrived as the subject."""
    account = {one.shot: one for one in told.accounts.get(door.agent, ())}
    seen = told.seen()
    sent: dict[int, int] = {}
    arrived: dict[int, int] = {}
    for number, shot in enumerate(told.spec.shots):
        if not shot.other_port or shot.socket is None:
            continue
        came = account.get(number)
        sent[shot.socket] = sent.get(shot.socket, 0) + (came is not None and came.replied is True)
        there = seen.get(number)
        got = [
            reply
            for reply in (there.replies if there is not None else ())
            if _is_of(reply, door) and reply.source == door.to.address and reply.source_port != door.to.port
        ]
        arrived[shot.socket] = arrived.get(shot.socket, 0) + bool(got)
    return [
        Knock(
            told.first + socket,
            Knocker.OTHER_PORT,
            door.agent,
            door.to.address,
            max(count, arrived[socket]),
            arrived[socket],
        )
        for socket, count in sent.items()
    ]


def marked(told: Told, socket: int, mark: int) -> list[Endpoint]:
    """Where unasked datagrams of that length came from, to one socket."""
    seen = told.seen()
    return [
        _endpoint(reply.source or "", reply.source_port)
        for number, shot in enumerate(told.spec.shots)
        if shot.socket == socket and number in seen
        for reply in seen[number].replies
        if reply.size == mark and not reply.valid and readable(reply.source)
    ]


def sent_shots(flow: FlowDetail | None) -> frozenset[int]:
    """Numbers of the shots that left their host, as far as it knows."""
    if flow is None:
        return frozenset()
    return frozenset(
        shot.shot for shot in flow.shots if shot.outcome not in NOT_MEASURED and shot.sent is not False
    )


def reached(agent: str, accounts: Iterable[WatchDetail], doors: Iterable[Door]) -> tuple[Reached, ...]:
    """What ``agent`` sent arrived at the very addresses that it was sent to."""
    dialled = {door.to.address for door in doors}
    came = {one.local_address: one.ttl for one in datagrams_of(accounts) if one.local_address in dialled}
    return tuple(Reached(agent, address, ttl) for address, ttl in came.items() if address is not None)


def local_addresses(flow: FlowDetail | None, family: Family) -> tuple[str, ...]:
    """From which addresses the kernel sent."""
    shots = flow.shots if flow is not None else ()
    return of_family_only((shot.local_address for shot in shots if shot.local_address), family)


def rungs(spec: FlowSpec, flow: FlowDetail | None, outside: str) -> tuple[Rung, ...]:
    """By TTL; an answer of the outside address itself, whichever, is its end."""
    seen = {shot.shot: shot for shot in flow.shots} if flow is not None else {}
    found: dict[int, Rung] = {}
    for number, shot in enumerate(spec.shots):
        ttl = shot.ttl or 0
        found.setdefault(ttl, Rung(outside, ttl))
        for error in seen[number].errors if number in seen else ():
            if readable(error.sender) and not found[ttl].reached:
                found[ttl] = Rung(outside, ttl, error.sender, error.sender == outside)
    return tuple(found[ttl] for ttl in sorted(found))

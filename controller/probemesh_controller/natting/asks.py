"""The flows of an inquiry: what the subject and the knockers send. Pure.

Every flow is of UDP, with several sockets: a socket is a mapping. Times leave room for a slow control
channel: what is to be sent to a mapping is known only when its reflector has told of it.
"""

from collections.abc import Sequence

from probemesh_shared.model import FlowSpec, Options, Shot
from probemesh_shared.words import Family, Transport

from probemesh_controller.natting.seen import Endpoint

#: Sockets of each kind: what chance or loss did to one shows beside the others.
SOCKETS = 4
#: Datagrams to each mapping, and of each question.
REPEATS = 3
#: How long a fresh mapping is kept open for knocks.
OPEN_MS = 2500.0
#: TTLs of the ladder to the own outside address.
DEEPEST = 4
_GAP_MS = 20.0
_APART_MS = 150.0
_WAIT_S = 0.8
_MARK = b"probemesh: unasked, on purpose "
#: The length of an unasked datagram says whose it is; replies of responders are shorter.
SMALLEST_MARK = 200
#: Port of the ladder's datagrams: nobody listens there.
_LADDER_PORT = 33533


def flow(
    family: Family,
    shots: Sequence[Shot],
    token: bytes | None,
    listen_ms: float = 0.0,
    source: str | None = None,
) -> FlowSpec:
    """Without a token nobody answers, and nothing is waited for."""
    options = Options(family=family, timeout_s=0.2 if token is None else _WAIT_S, source=source)
    return FlowSpec(options, Transport.UDP, tuple(shots), token, listen_ms)


def marked(length: int) -> bytes:
    """What an unasked datagram of that length says."""
    return _MARK.ljust(length, b".")


def opening(family: Family, token: bytes, main: Endpoint, open_ms: float = OPEN_MS) -> FlowSpec:
    """Fresh mappings, each asked for by datagrams to one endpoint only; some want the reply to come from
    another port, which the filter has to let in."""
    shots = []
    for turn in range(REPEATS + 2):
        for socket in range(SOCKETS):
            at = turn * _APART_MS + socket * _GAP_MS
            shots.append(
                Shot(at, main.port, socket=socket, address=main.address, other_port=turn not in (0, REPEATS))
            )
    return flow(family, shots, token, open_ms)


def open_s(spec: FlowSpec) -> float:
    """How long its sockets are open at least, from when it was asked for."""
    return (spec.shots[-1].at_ms + spec.listen_ms) / 1000


def knocking(family: Family, mappings: Sequence[Endpoint], mark: int, source: str | None = None) -> FlowSpec:
    """Datagrams that nobody asked for, to each mapping; ``mark`` is their length."""
    data = marked(mark)
    shots = [
        Shot(turn * _APART_MS + place * _GAP_MS, to.port, socket=0, address=to.address, send=data)
        for turn in range(REPEATS)
        for place, to in enumerate(mappings)
    ]
    return flow(family, shots, None, source=source)


def looking_round(family: Family, token: bytes, endpoints: Sequence[Endpoint]) -> FlowSpec:
    """Several sockets, each to every endpoint, twice: a mapping that changes by itself shows."""
    shots = []
    for turn in range(2):
        for place, to in enumerate(endpoints):
            for socket in range(SOCKETS):
                number = (turn * len(endpoints) + place) * SOCKETS + socket
                shots.append(Shot(number * _GAP_MS, to.port, socket=socket, address=to.address))
    return flow(family, shots, token)


def crossing(
    family: Family, token: bytes, ports: tuple[int, int], outside: tuple[Endpoint, Endpoint], main: Endpoint
) -> FlowSpec:
    """Two sockets on ports that were used before send to each other's outside endpoint, and then to the
    reflector again, to see whether they are still what they were."""
    shots = []
    for turn in range(REPEATS):
        for socket, (port, to) in enumerate(zip(ports, reversed(outside), strict=True)):
            at = turn * _APART_MS + socket * _GAP_MS
            data = marked(SMALLEST_MARK)
            shots.append(Shot(at, to.port, source_port=port, socket=socket, address=to.address, send=data))
    for socket, port in enumerate(ports):
        at = REPEATS * _APART_MS + socket * _GAP_MS
        shots.append(Shot(at, main.port, source_port=port, socket=socket, address=main.address))
    return flow(family, shots, token, 400.0)


def climbing(family: Family, outside: str) -> FlowSpec:
    """The ladder to the own outside address, each TTL twice."""
    shots = [
        Shot(
            (turn * DEEPEST + ttl) * _GAP_MS * 4,
            _LADDER_PORT,
            ttl=ttl,
            socket=ttl,
            address=outside,
            send=_MARK,
        )
        for turn in range(2)
        for ttl in range(1, DEEPEST + 1)
    ]
    return flow(family, shots, None, 800.0)


def reaching(family: Family, token: bytes, endpoints: Sequence[Endpoint]) -> FlowSpec:
    """To a listener of the subject's own, by all of its addresses."""
    shots = [
        Shot((turn * len(endpoints) + place) * _GAP_MS, to.port, socket=0, address=to.address)
        for turn in range(REPEATS)
        for place, to in enumerate(endpoints)
    ]
    return flow(family, shots, token)


def holding(family: Family, token: bytes, port: int, main: Endpoint) -> FlowSpec:
    """The first of two agents that use one source port."""
    shots = [
        Shot(turn * _APART_MS, main.port, source_port=port, socket=0, address=main.address)
        for turn in range(REPEATS)
    ]
    return flow(family, shots, token, OPEN_MS)


def colliding(family: Family, token: bytes, port: int, order: Sequence[Endpoint]) -> FlowSpec:
    """The second one, in this order; then all again."""
    shots = [
        Shot(number * _APART_MS, to.port, source_port=port, socket=0, address=to.address)
        for number, to in enumerate((*order, *order))
    ]
    return flow(family, shots, token)

"""Does the target's own host let anything out of the service's port? By UDP, where TCP's is taken. Pure.

For kernels that do not count what leaves them (before Linux 6.7). A SYN-ACK that its own host drops shows
as one that is never sent again, which alone is a hint. A datagram from the same port number tells its sender
that it was not let out: the two together name the host. A rule for TCP alone spares the datagram: one that
leaves says nothing.
"""

from collections.abc import Iterator

from probemesh_shared.model import FlowSpec, Place, Shot
from probemesh_shared.words import PlaceKind, Transport

from probemesh_controller.pair.case import Round, Step
from probemesh_controller.pair.flow import names, purposes
from probemesh_controller.pair.flow.far import repeated
from probemesh_controller.pair.flow.fates import fate_of
from probemesh_controller.pair.flow.near import ENOUGH
from probemesh_controller.pair.flow.steps import FIRST_S, SETTLE_MS, options
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.view import View

_EVERY_MS = 20.0
#: What traceroute takes: no service is there. With a TTL of 1 it does not get there either.
_FIRST_PORT = 33_434


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    of_port, of_any = _fates(view, purposes.SHUT_PORT), _fates(view, purposes.SHUT_ANY)
    shut = [fate for fate in of_port if fate == names.SEND_FILTERED]
    hints = tuple(repeated(view, notes))
    if len(of_port) < ENOUGH or len(of_any) < ENOUGH or names.SEND_FILTERED in of_any:
        return
    if not shut:
        yield Sign(names.PORT_SHUT, False)
    elif len(shut) == len(of_port) and hints and all(one.holds is False for one in hints):
        text = (
            f"{view.far_name}'s own host does not let out datagrams of port {view.port} either, "
            f"while those of other ports leave it"
        )
        seen = (notes.note(text), *hints[0].seen)
        yield Sign(names.PORT_SHUT, True, seen, Place(PlaceKind.TARGET_HOST, view.address))


def _fates(view: View, purpose: str) -> list[str | None]:
    return [fate_of(shot, view.back) for probed in view.probes(purpose) for shot in probed.shots]


def _ask(view: View, signs: Signs) -> Round | None:
    if view.back.address is None or view.port is None:
        return None
    why = "does {} let out datagrams of {}"
    here = why.format(view.far_name, f"port {view.port}")
    steps = (
        _step(view, purposes.SHUT_PORT, here, view.port, 0.0),
        _step(view, purposes.SHUT_ANY, why.format(view.far_name, "any port"), 0, _EVERY_MS / 2),
    )
    return Round(steps, SETTLE_MS)


def _step(view: View, purpose: str, why: str, source_port: int, offset_ms: float) -> Step:
    assert view.back.address is not None
    shots = tuple(
        Shot(
            at_ms=offset_ms + number * _EVERY_MS,
            ttl=1,
            source_port=source_port,
            port=_FIRST_PORT + number,
            socket=0,
        )
        for number in range(ENOUGH)
    )
    spec = FlowSpec(options(view, FIRST_S), Transport.UDP, shots)
    sender, to = view.far_name, view.near_name
    return Step("", purpose, why, sender, view.back.address, _FIRST_PORT, spec, to, view.direction)


def _wanted(view: View, signs: Signs) -> bool:
    """Its answers are lost, no counter says where, and they are not sent again."""
    lost = signs.holds(names.SILENT) is True and signs.holds(names.DELIVERED) is True
    return lost and signs.holds(names.FAR_OUT_LOST) is None and signs.holds(names.SYNACK_REPEATED) is False


READER = Reader(frozenset({names.PORT_SHUT}), _read)

MOVES = (Move(purposes.SHUT, frozenset({names.PORT_SHUT}), _ask, cost=0.9, wants=_wanted),)

"""Signs of the far end's account of the flow, packet by packet: did they come, who has them. Pure."""

from collections.abc import Iterator

from probemesh_shared.model import Place
from probemesh_shared.words import PlaceKind, Transport

from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.counts import host_of
from probemesh_controller.pair.flow.far_counts import counted
from probemesh_controller.pair.flow.listeners import fits, last_account, service_of
from probemesh_controller.pair.flow.near import ENOUGH
from probemesh_controller.pair.flow.purposes import AGAIN, BURST, FLOW_SHOTS
from probemesh_controller.pair.flow.socket_evidence import (
    connections,
    half_open,
    packets_in,
    prober_of,
)
from probemesh_controller.pair.signs import Notes, Reader, Sign
from probemesh_controller.pair.view import View

#: A SYN-ACK is sent again after a second; from then on a host that could not send it gives itself away.
FIRST_REPEAT_MS = 1250.0


def _arrival(view: View, notes: Notes) -> Iterator[Sign]:
    tuples = list(_tuples(view, notes))
    yield from tuples
    yield from _wire(view, notes)
    yield from _full(view, notes)
    if view.transport is Transport.TCP:
        yield from repeated(view, notes)
    for probed in view.probes_here(AGAIN, BURST):
        host = host_of(view.far_account(probed), probed, view, len(probed.shots))
        if host is not None and probed.shots and probed.alone:
            yield from counted(host, probed, view, notes, bool(tuples))


def _tuples(view: View, notes: Notes) -> Iterator[Sign]:
    """Per-tuple evidence: it says yes, or nothing."""
    seen = []
    for probed in view.probes_here(*FLOW_SHOTS):
        account = view.far_account(probed)
        if account is None or not probed.shots:
            continue
        prober = prober_of(view, probed)
        seen += [_half_open_said(view) for _ in half_open(account, prober, view.port)]
        seen += [_connection_said(view) for _ in connections(account, prober, view.port)]
        seen += [
            f"{view.far_name} accepted a connection of {view.near_name} on {view.flow_name}"
            for one in account.accepted
            if one.local_port == view.port and prober.is_its(one.address, one.port)
        ]
        seen += [
            f"a datagram of {view.near_name} came to {view.far_name} on {view.flow_name}"
            for one in account.datagrams
            if one.local_port == view.port and one.valid
        ]
    seen += _unread(view)
    if seen:
        ids = tuple(notes.note(text) for text in dict.fromkeys(seen))
        yield Sign(names.DELIVERED, True, ids, Place(PlaceKind.TARGET_HOST, view.address))


def _unread(view: View) -> list[str]:
    """Datagrams that the service on the port does not read."""
    far = view.far
    first, last = far.armed if far is not None else None, last_account(view)
    if view.transport is not Transport.UDP or first is None or last is None:
        return []
    before = sum(one.queue or 0 for one in first.listeners if one.port == view.port)
    now = sum(one.queue or 0 for one in last.listeners if one.port == view.port)
    waiting = f"{now} bytes wait unread at the socket on {view.flow_name} of {view.far_name}, {before} before"
    return [waiting] if now > before else []


def _half_open_said(view: View) -> str:
    return f"{view.far_name} has half-open connections (SYN_RECV) of {view.near_name} on {view.flow_name}"


def _connection_said(view: View) -> str:
    return f"{view.far_name} has connections of {view.near_name} on {view.flow_name}"


def _full(view: View, notes: Notes) -> Iterator[Sign]:
    """The accept queue itself: a kernel drops what comes while more wait in it than the backlog allows."""
    if view.transport is not Transport.TCP:
        return
    for probed in view.probes_here(*FLOW_SHOTS):
        account = view.far_account(probed)
        for one in account.listeners if account is not None else ():
            full = one.queue is not None and one.backlog is not None and one.queue > one.backlog
            if one.port == view.port and fits(one, view) and full:
                text = (
                    f"in the accept queue of {view.far_name}'s service {one.queue} connections wait, "
                    f"its backlog is {one.backlog}"
                )
                yield Sign(names.OVERFLOWED, True, (notes.note(text),), service_of(view))
                return


def _wire(view: View, notes: Notes) -> Iterator[Sign]:
    if not view.far_sees("packets"):
        return
    tried, there = 0, 0
    for probed in view.probes_here(*FLOW_SHOTS):
        account = view.far_account(probed)
        if account is not None and probed.shots and "packets" not in account.blind:
            tried += len(probed.shots)
            prober = prober_of(view, probed)
            there += sum(one.count for one in packets_in(account, prober, view))
    if there:
        text = f"on the wire of {view.far_name} {there} packets of {view.near_name} for {view.flow_name} came"
        yield Sign(names.ON_WIRE, True, (notes.note(text),))
    elif tried >= ENOUGH:
        text = f"on the wire of {view.far_name} none of {tried} attempts at {view.flow_name} was seen"
        yield Sign(names.ON_WIRE, False, (notes.note(text),))


def repeated(view: View, notes: Notes) -> Iterator[Sign]:
    """SYN-ACKs sent again: they left the host. A timer that fired in vain does not count in the socket's own
    number, so one that stood long enough without any says that they did not."""
    found = [
        one
        for probed in view.probes_here(*FLOW_SHOTS)
        if (account := view.far_account(probed)) is not None
        for one in half_open(account, prober_of(view, probed), view.port)
        if one.retransmits is not None
    ]
    again = [one for one in found if one.retransmits]
    patient = [one for one in found if one.last_ms - one.first_ms >= FIRST_REPEAT_MS]
    if again:
        text = f"{view.far_name} sent the SYN-ACKs of {len(again)} half-open connections again: they left it"
        yield Sign(names.SYNACK_REPEATED, True, (notes.note(text),))
    elif len(patient) >= ENOUGH:
        text = (
            f"{len(patient)} half-open connections of {view.far_name} stood long, and no SYN-ACK left again"
        )
        yield Sign(names.SYNACK_REPEATED, False, (notes.note(text),))


ARRIVAL = Reader(
    frozenset(
        {
            names.DELIVERED,
            names.ON_WIRE,
            names.HOST_DROPPED,
            names.RPF_DROPPED,
            names.FORWARDED,
            names.FAR_NO_ROUTE,
            names.OVERFLOWED,
            names.FAR_OUT_LOST,
            names.FAR_REJECTS,
            names.SYNACK_REPEATED,
            names.RST_SENT,
            names.UNREACHABLE_SENT,
            names.EMBRYONIC,
            names.RETURN_ICMP,
            names.RETURN_EXPIRED,
            names.FAR_REPLIED,
        }
    ),
    _arrival,
)

"""Signs of the far end's account of the flow: did the packets come, who took them, what went back. Pure."""

from collections.abc import Iterator

from probemesh_shared.model import Listener, Place, WatchDetail
from probemesh_shared.words import PlaceKind, Transport

from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.counts import SURE, Host, host_of
from probemesh_controller.pair.flow.fates import fate_of
from probemesh_controller.pair.flow.near import ENOUGH, shots_at
from probemesh_controller.pair.flow.purposes import AGAIN, BURST, FLOW_SHOTS
from probemesh_controller.pair.flow.socket_evidence import (
    connections,
    half_open,
    packets_in,
    prober_of,
)
from probemesh_controller.pair.signs import Notes, Reader, Sign
from probemesh_controller.pair.view import Probed, View, own_addresses, plain_address

#: A SYN-ACK is sent again after a second; from then on a host that could not send it gives itself away.
FIRST_REPEAT_MS = 1250.0

_ANY4 = ".".join("0000")
_ANY = frozenset({_ANY4, "::", "*", ""})


# --- listeners --------------------------------------------------------------------------------------------


def last_account(view: View) -> WatchDetail | None:
    """The newest that the far end told, the armed one included."""
    for done in reversed(view.case.rounds):
        if (account := done.look(view.far_name)) is not None:
            return account
    return view.far.armed if view.far is not None else None


def _listening(view: View, notes: Notes) -> Iterator[Sign]:
    account = last_account(view)
    if account is None or "listeners" in account.blind or view.port is None:
        return
    found = [one for one in account.listeners if one.port == view.port]
    fitting = [one for one in found if _fits(one, view)]
    if fitting:
        text = f"on {view.far_name} a socket listens on {view.flow_name}, at {_where(fitting)}"
    elif found:
        text = f"on {view.far_name} {view.flow_name} is bound to {_where(found)} only, not to {view.address}"
    else:
        text = f"on {view.far_name} nothing listens on {view.flow_name}"
    seen = (notes.note(text),)
    yield Sign(names.LISTENING, bool(fitting), seen, _service(view))
    elsewhere = bool(found) and not fitting
    yield Sign(names.ELSEWHERE, elsewhere, seen, values={"at": _where(found)})


def _fits(listener: Listener, view: View) -> bool:
    """Whether a packet to the address that is dialled ends there."""
    address, dialled = plain_address(listener.address), view.address or ""
    if listener.address in _ANY:
        # a v6 wildcard may take v4 as well, a v4 one never v6
        return listener.address != _ANY4 or ":" not in dialled
    if address == dialled:
        return True
    far = view.far
    behind = far is not None and dialled not in own_addresses(far)
    return (
        behind
        and not address.startswith("127.")
        and address != "::1"
        and (":" in address) == (":" in dialled)
    )


def _where(listeners: list[Listener]) -> str:
    return ", ".join(
        dict.fromkeys("every address" if one.address in _ANY else one.address for one in listeners)
    )


def _service(view: View) -> Place:
    return Place(PlaceKind.TARGET_SERVICE, view.address)


# --- did they come? ---------------------------------------------------------------------------------------


def _arrival(view: View, notes: Notes) -> Iterator[Sign]:
    yield from _tuples(view, notes)
    yield from _wire(view, notes)
    yield from _full(view, notes)
    if view.transport is Transport.TCP:
        yield from _repeated(view, notes)
    for probed in view.probes_here(AGAIN, BURST):
        host = host_of(view.far_account(probed), probed, view, len(probed.shots))
        if host is not None and probed.shots and probed.alone:
            yield from _counted(host, probed, view, notes)


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
            if one.port == view.port and _fits(one, view) and full:
                text = (
                    f"in the accept queue of {view.far_name}'s service {one.queue} connections wait, "
                    f"its backlog is {one.backlog}"
                )
                yield Sign(names.OVERFLOWED, True, (notes.note(text),), _service(view))
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


# --- counters ---------------------------------------------------------------------------------------------


def _counted(host: Host, probed: Probed, view: View, notes: Notes) -> Iterator[Sign]:
    """Of one burst, beside which nothing else was sent."""
    taken = list(_taken(host, probed, view, notes))
    yield from taken
    n, far = host.counts.n, view.far_name
    ate = host.ate()
    if ate is not None:
        verb = "received and delivered to nobody" if ate else "received no more than it delivered of"
        text = f"{far} {verb} {n} packets while {n} were sent ({_pair(host, 'InReceives', 'InDelivers')})"
        yield Sign(names.HOST_DROPPED, ate, (notes.note(text),), Place(PlaceKind.TARGET_HOST, view.address))
    yield from _one(host, names.RPF_DROPPED, ("TcpExt.IPReversePathFilter",), far, notes)
    yield from _one(host, names.FORWARDED, host.forwarding, far, notes)
    yield _no_route(host, any(one.name == names.DELIVERED and one.holds for one in taken), view, notes)
    yield from _out(host, view, notes)


def _taken(host: Host, probed: Probed, view: View, notes: Notes) -> Iterator[Sign]:
    """What the transport layer counted: then it was delivered."""
    far = view.far_name
    signs: list[Sign] = []
    if view.transport is Transport.TCP:
        signs += _one(host, names.RST_SENT, ("Tcp.OutRsts",), far, notes)
        signs += _one(host, names.EMBRYONIC, ("TcpExt.EmbryonicRsts",), far, notes)
        signs += _one(host, names.OVERFLOWED, ("TcpExt.ListenOverflows",), far, notes)
    elif view.transport is Transport.UDP:
        signs += _one(host, names.UNREACHABLE_SENT, (host.udp("NoPorts"),), far, notes)
        taken = host.udp("InDatagrams")
        signs += _one(host, "taken", (taken,), far, notes)
        signs += _one(host, names.OVERFLOWED, (host.udp("RcvbufErrors"),), far, notes)
    else:
        signs += _one(host, "taken", (host.icmp("InEchos"),), far, notes)
    yield from (sign for sign in signs if sign.name != "taken")
    yield from _delivered(signs, probed, view)


def _delivered(signs: list[Sign], probed: Probed, view: View) -> Iterator[Sign]:
    place = Place(PlaceKind.TARGET_HOST, view.address)
    rose = [sign for sign in signs if sign.holds]
    if rose:
        yield Sign(names.DELIVERED, True, tuple(dict.fromkeys(i for one in rose for i in one.seen)), place)
        return
    account = view.far_account(probed)
    if account is None or len(probed.shots) < ENOUGH:
        return
    if any(sign.holds is None for sign in signs) or not _looked(account, view):
        return
    if not _has_tuple(view):
        yield Sign(names.DELIVERED, False, tuple(dict.fromkeys(i for one in signs for i in one.seen)))


def _looked(account: WatchDetail, view: View) -> bool:
    """Whether connections of the flow would have been seen."""
    if view.transport is not Transport.TCP:
        return True
    return not {"half-open", "connections"} & set(account.blind)


def _has_tuple(view: View) -> bool:
    return any(sign.holds for sign in _tuples(view, Notes()))


def _one(host: Host, name: str, counters: tuple[str, ...], far: str, notes: Notes) -> Iterator[Sign]:
    rose = host.counts.rose(*counters)
    if rose is None:
        return
    delta = host.counts.delta(*counters)
    text = f"{counters[0]} of {far} rose by {delta:.0f} while {host.counts.n} were sent"
    yield Sign(name, rose, (notes.note(text),))


def _no_route(host: Host, delivered: bool, view: View, notes: Notes) -> Sign:
    """It had them, and no way to answer: by its count of packets without a route (which misses datagrams that
    a socket could not send), or since its own attempts fail so."""
    back = view.back
    fates = [fate for _, shot in shots_at(back) if (fate := fate_of(shot, back)) is not None]
    if delivered and fates and all(fate == names.NO_ROUTE for fate in fates):
        text = f"{view.far_name} itself has no route to {back.address}"
        return Sign(names.FAR_NO_ROUTE, True, (notes.note(text),))
    counted = _one(host, names.FAR_NO_ROUTE, (host.ip("OutNoRoutes"),), view.far_name, notes)
    return next(counted, Sign(names.FAR_NO_ROUTE))


def _out(host: Host, view: View, notes: Notes) -> Iterator[Sign]:
    """What became of its answers on the way out of its own host, and what came back for them."""
    far = view.far_name
    kept = host.kept_in()
    if kept is not None:
        text = f"{far}: {_pair(host, 'OutRequests', 'OutTransmits')} while {host.counts.n} were sent to it"
        yield Sign(names.FAR_OUT_LOST, kept, (notes.note(text),), Place(PlaceKind.TARGET_HOST, view.address))
    for name, counter, what in (
        (names.RETURN_ICMP, host.icmp("InDestUnreachs"), "destination unreachable"),
        (names.RETURN_EXPIRED, host.icmp("InTimeExcds"), "time exceeded"),
    ):
        excess, noise = host.counts.excess(counter), host.counts.noise(counter)
        if excess is None:
            continue
        # routers limit these, so they are few; a single one may be anybody's
        came = True if excess >= 2 and excess >= SURE * noise else None
        if excess < 1 and SURE * noise < 1:
            came = False
        text = f'{far} got {max(0.0, excess):.0f} ICMP errors "{what}" while {host.counts.n} were sent to it'
        yield Sign(name, came, (notes.note(text),) if came is not None else ())
    if view.transport is Transport.UDP:
        yield from _one(host, names.FAR_REPLIED, (host.udp("OutDatagrams"),), far, notes)


def _repeated(view: View, notes: Notes) -> Iterator[Sign]:
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


def _pair(host: Host, one: str, other: str) -> str:
    deltas = [host.counts.delta(host.ip(name)) for name in (one, other)]
    return ", ".join(
        f"{host.ip(name)} {'not counted' if delta is None else f'+{delta:.0f}'}"
        for name, delta in zip((one, other), deltas, strict=True)
    )


# --- conntrack --------------------------------------------------------------------------------------------


def _conntrack(view: View, notes: Notes) -> Iterator[Sign]:
    account = last_account(view)
    if account is None or account.conntrack is None or not account.conntrack_most:
        return
    full = account.conntrack >= account.conntrack_most
    text = f"{view.far_name} tracks {account.conntrack} of at most {account.conntrack_most} connections"
    yield Sign(names.CONNTRACK_FULL, full, (notes.note(text),) if full else (), _host(view))


def _host(view: View) -> Place:
    return Place(PlaceKind.TARGET_HOST, view.address)


LISTENERS = Reader(frozenset({names.LISTENING, names.ELSEWHERE}), _listening)
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
CONNTRACK = Reader(frozenset({names.CONNTRACK_FULL}), _conntrack)

"""Signs of what the far end's host counted while the flow was sent, and nothing else. Pure."""

from collections.abc import Iterator

from probemesh_shared.model import Place, WatchDetail
from probemesh_shared.words import PlaceKind, Transport

from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.counts import SURE, Host
from probemesh_controller.pair.flow.fates import fate_of
from probemesh_controller.pair.flow.listeners import fits
from probemesh_controller.pair.flow.near import ENOUGH, shots_at
from probemesh_controller.pair.flow.socket_evidence import prober_of, unclaimed
from probemesh_controller.pair.signs import Notes, Sign
from probemesh_controller.pair.view import Probed, View


def counted(host: Host, probed: Probed, view: View, notes: Notes, has_tuple: bool) -> Iterator[Sign]:
    """Of one burst, beside which nothing else was sent. ``has_tuple``: the far end's tables have the flow."""
    taken = list(_taken(host, probed, view, notes, has_tuple))
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


def _taken(host: Host, probed: Probed, view: View, notes: Notes, has_tuple: bool) -> Iterator[Sign]:
    """What the transport layer counted: then it was delivered."""
    far = view.far_name
    signs: list[Sign] = []
    if view.transport is Transport.TCP:
        signs += _one(host, names.RST_SENT, ("Tcp.OutRsts",), far, notes)
        signs += _one(host, names.EMBRYONIC, ("TcpExt.EmbryonicRsts",), far, notes)
        signs += _one(host, names.OVERFLOWED, ("TcpExt.ListenOverflows",), far, notes)
        signs += _one(host, "taken", ("TcpExt.ListenDrops",), far, notes)  # a listener had it, and gave up
    elif view.transport is Transport.UDP:
        signs += _one(host, names.UNREACHABLE_SENT, (host.udp("NoPorts"),), far, notes)
        taken = host.udp("InDatagrams")
        signs += _one(host, "taken", (taken,), far, notes)
        signs += _one(host, names.OVERFLOWED, (host.udp("RcvbufErrors"),), far, notes)
    else:
        signs += _one(host, "taken", (host.icmp("InEchos"),), far, notes)
    yield from (sign for sign in signs if sign.name != "taken")
    yield from _delivered(signs, probed, view, has_tuple)


def _delivered(signs: list[Sign], probed: Probed, view: View, has_tuple: bool) -> Iterator[Sign]:
    place = Place(PlaceKind.TARGET_HOST, view.address)
    rose = [sign for sign in signs if sign.holds]
    if rose:
        yield Sign(names.DELIVERED, True, tuple(dict.fromkeys(i for one in rose for i in one.seen)), place)
        return
    account = view.far_account(probed)
    if account is None or len(probed.shots) < ENOUGH:
        return
    takes = any(one.port == view.port and fits(one, view) for one in account.listeners)
    # what a listener has is refused by nobody
    asked = (sign for sign in signs if not (takes and sign.name == names.RST_SENT))
    if any(sign.holds is None for sign in asked) or not _looked(account, probed, view):
        return
    if not has_tuple:
        yield Sign(names.DELIVERED, False, tuple(dict.fromkeys(i for one in signs for i in one.seen)))


def _looked(account: WatchDetail, probed: Probed, view: View) -> bool:
    """Whether connections of the flow would have been seen, and known as such: half-open ones of unknown
    addresses may be the prober's, through a NAT of which nobody knows."""
    if view.transport is not Transport.TCP:
        return True
    if unclaimed(account, prober_of(view, probed), view, view.port) >= ENOUGH:
        return False
    return not {"half-open", "connections"} & set(account.blind)


def _one(host: Host, name: str, counters: tuple[str, ...], far: str, notes: Notes) -> Iterator[Sign]:
    """A counter too noisy to tell is a sign that nobody knows, which is not the lack of one."""
    rose = host.counts.rose(*counters)
    if rose is None:
        yield Sign(name)
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
    if kept is None and view.transport is Transport.UDP and host.unsent() is True:
        text = (
            f"{far} made {host.counts.n} datagrams that no socket counts as sent ({host.ip('OutRequests')})"
        )
        yield Sign(names.FAR_OUT_LOST, True, (notes.note(text),), Place(PlaceKind.TARGET_HOST, view.address))
    if kept is not None:
        text = f"{far}: {_pair(host, 'OutRequests', 'OutTransmits')} while {host.counts.n} were sent to it"
        yield Sign(names.FAR_OUT_LOST, kept, (notes.note(text),), Place(PlaceKind.TARGET_HOST, view.address))
    # errors for what it sends that are its own count here as well; loopback knows no limit of them
    yield from _one(host, names.FAR_REJECTS, (host.icmp("OutDestUnreachs"),), far, notes)
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


def _pair(host: Host, one: str, other: str) -> str:
    deltas = [host.counts.delta(host.ip(name)) for name in (one, other)]
    return ", ".join(
        f"{host.ip(name)} {'not counted' if delta is None else f'+{delta:.0f}'}"
        for name, delta in zip((one, other), deltas, strict=True)
    )

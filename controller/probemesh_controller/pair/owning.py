"""Is the address that is dialled the far host's own? Pure.

Whoever takes a packet in at just that address has it. That it stands on no interface says little where the
list of those may have gaps; what came in at another address, or was said to have expired there, says it for
good.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from probemesh_shared.model import WatchDetail
from probemesh_shared.twoends import MOST_ADDRESSES
from probemesh_shared.words import Family

from probemesh_controller.pair.case import End
from probemesh_controller.pair.flow.socket_evidence import prober_of
from probemesh_controller.pair.view import Probed, View, local_address, plain_address, sockets_of


def far_has(view: View) -> bool | None:
    """None where nobody can say: the list of the far host's addresses may have gaps, or there is none."""
    if "has" not in view.known:
        has = _far_has(view)
        view.known["has"] = () if has is None else ("yes",) if has else ("no",)
    found = view.known["has"]
    return "yes" in found if found else None


def may_have(view: View) -> bool:
    """It is listed or shown, or the list may have gaps; without a watch's there is no telling."""
    watched = view.far is not None and view.far.armed is not None and bool(view.far.armed.addresses)
    return watched and far_has(view) is not False


def _far_has(view: View) -> bool | None:
    far, address = view.far, view.address
    if far is None or address is None:
        return None
    if address in view.far_own:
        return True
    if arrived_at(view) is not None or expires(view):
        return False
    return False if lists_all(far, address) else None


def lists_all(end: End, address: str) -> bool:
    """Whether that host would have listed ``address`` among its own."""
    listed = end.armed.addresses if end.armed is not None else ()
    return 0 < len(listed) < MOST_ADDRESSES and not is_loopback(address)


def is_loopback(address: str) -> bool:
    """Of 127.0.0.0/8 a host has every address, and lists one; what is sent to any leaves no host. Agents are
    not trusted with the form of an address: what is none is not one of these."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def arrived_at(view: View) -> str | None:
    """Another address than the one that is dialled, at which the far host took in what was sent there."""
    others = (local for local in _arrivals(view) if local != view.address)
    return next(others, None)


def expires(view: View) -> bool:
    """The dialled address itself said "time exceeded", as no host does of a packet that is for it."""
    return any(
        error.sender and plain_address(error.sender) == view.address and error.type == _expired(error.family)
        for probed in view.probes_here()
        for shot in probed.shots
        for error in shot.errors
    )


def _expired(family: Family) -> int:
    return 3 if family is Family.IPV6 else 11


def _arrivals(view: View) -> Iterator[str]:
    """Local addresses at which the far host has what was sent to the dialled address."""
    for probed in view.probes_here():
        account = view.far_account(probed)
        if account is not None:
            came = frozenset(_tuples(probed))
            yield from _taken_in(account, came, probed.step.port)
            yield from _marked(view, probed, account)


def _marked(view: View, probed: Probed, account: WatchDetail) -> Iterator[str]:
    """Behind a NAT of its own the prober has another tuple there, and still its mark: that of what it sent to
    all addresses at that time."""
    here = {
        done.step.address
        for done in probed.round.steps
        if done.step.sender == view.near_name and done.step.port == probed.step.port
    }
    prober = prober_of(view, probed)
    for one in account.connections if len(here) == 1 else ():
        local = local_address(one.local_address)
        if local is not None and one.local_port == probed.step.port and prober.has_mark(one.mss):
            yield local


def _tuples(probed: Probed) -> Iterator[tuple[str, int]]:
    """From where this step's shots came to the far host: by its responder's word, else as they were sent."""
    for shot in probed.shots:
        told: list[tuple[str | None, int | None]]
        told = [(one.seen_address, one.seen_port) for one in shot.replies if one.valid and one.seen_address]
        for address, port in told or [(shot.local_address, shot.local_port)]:
            if (plain := local_address(address)) and port:
                yield plain, port


def _taken_in(account: WatchDetail, came: frozenset[tuple[str, int]], port: int | None) -> Iterator[str]:
    for one in sockets_of(account):
        if one.local_port == port and (plain_address(one.address), one.port) in came:
            local = local_address(one.local_address)
            if local is not None:
                yield local

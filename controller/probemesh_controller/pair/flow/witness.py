"""Signs of what is in the far end's tables of connections that stand for the prober. Pure."""

from collections.abc import Iterator

from probemesh_shared.model import ShotSeen
from probemesh_shared.words import Transport

from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.controls import flow_answered, tcp_control, udp_control
from probemesh_controller.pair.flow.counts import host_of
from probemesh_controller.pair.flow.purposes import FLOW_SHOTS, HOLD
from probemesh_controller.pair.flow.socket_evidence import connections, half_open, is_answered, prober_of
from probemesh_controller.pair.owning import far_has, is_loopback
from probemesh_controller.pair.signs import Notes, Reader, Sign
from probemesh_controller.pair.view import Probed, View, plain_address

#: A connection that stood so long was there at some poll of the far watch.
SEEN_MS = 150.0
#: FIN_WAIT1, FIN_WAIT2, LAST_ACK, CLOSING: whoever took it has closed it.
_CLOSED_BY_ITS_OWNER = frozenset({4, 5, 9, 11})


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    yield _stranger(view, notes)
    if view.transport is not Transport.TCP:
        return
    found = [
        (probed.step.purpose == HOLD, _is_there(shot, probed, view))
        for probed in view.probes_here(*FLOW_SHOTS)
        if _can_see(probed, view)
        for shot in probed.shots
        if is_answered(shot) and (shot.end_ms or 0.0) >= SEEN_MS
    ]
    if found:
        there = sum(seen for _, seen in found)
        # a poll may miss what stood for a moment, not what stood for a second
        missed = sum(long and not seen for long, seen in found)
        stood = f"of {len(found)} connections that stood for {view.near_name}"
        text = f"{stood}, {view.far_name} has {there} in its table"
        ids = (notes.note(text),)
        yield Sign(names.WITNESSED, True if there == len(found) else False if not there else None, ids)
        yield Sign(names.WITNESS_MIXED, there >= 2 and missed >= 2, ids)
    yield from _unaccepted(view, notes)


def _stranger(view: View, notes: Notes) -> Sign:
    """It answers, it refuses what the far end itself would answer, and the far end had nothing of it."""
    address, has = view.address, far_has(view)
    works = (tcp_control(view), udp_control(view))
    if True in works or address is None or is_loopback(address) or has is False:
        return Sign(names.STRANGER, False)
    if has is None or works != (False, False) or flow_answered(view) is not True or not _unseen(view):
        return Sign(names.STRANGER)
    text = (
        f"{address} answers on {view.flow_name} and refuses what {view.far_name} listens on; "
        f"{view.far_name}, which has that address, saw nothing of it"
    )
    return Sign(names.STRANGER, True, (notes.note(text),))


def _unseen(view: View) -> bool:
    """Held connections that are not in the far end's table; datagrams that it did not count."""
    seen: list[bool] = []
    for probed in view.probes_here(*FLOW_SHOTS):
        answered = [shot for shot in probed.shots if is_answered(shot)]
        if view.transport is Transport.TCP and _can_see(probed, view):
            held = [shot for shot in answered if (shot.end_ms or 0.0) >= SEEN_MS]
            seen += [_is_there(shot, probed, view) for shot in held]
        elif view.transport is Transport.UDP and probed.alone and answered:
            host = host_of(view.far_account(probed), probed, view, len(probed.shots))
            rose = host.counts.rose(host.udp("InDatagrams")) if host is not None else None
            seen += [rose is not False]
    return bool(seen) and not any(seen)


def _can_see(probed: Probed, view: View) -> bool:
    account = view.far_account(probed)
    return account is not None and not {"half-open", "connections"} & set(account.blind)


def _is_there(shot: ShotSeen, probed: Probed, view: View) -> bool:
    """By its tuple; behind a NAT whatever comes from there, or bears our mark, may be it."""
    account = view.far_account(probed)
    assert account is not None
    prober = prober_of(view, probed)
    its = (plain_address(shot.local_address or ""), shot.local_port or 0)
    found = [(one.address, one.port) for one in connections(account, prober, view.port)]
    found += [(one.address, one.port) for one in half_open(account, prober, view.port)]
    found += [(one.address, one.port) for one in account.accepted if one.local_port == view.port]
    found = [(plain_address(address), port) for address, port in found]
    return its in found or any(one not in prober.tuples for one in found)


def _unaccepted(view: View, notes: Notes) -> Iterator[Sign]:
    """Do connections that were held for a second still wait in the accept queue? One that was taken, however
    soon, says no."""
    waits, taken = 0, 0
    for probed in view.probes_here(*FLOW_SHOTS):
        account = view.far_account(probed)
        if account is None or not _can_see(probed, view):
            continue
        for one in connections(account, prober_of(view, probed), view.port):
            waits += one.accepted is False and probed.step.purpose == HOLD
            taken += one.accepted is True or one.state in _CLOSED_BY_ITS_OWNER
    if waits and not taken:
        text = (
            f"{waits} connections of {view.near_name} waited for a second in the accept queue of "
            f"{view.far_name}"
        )
        yield Sign(names.UNACCEPTED, True, (notes.note(text),))
    elif taken:
        yield Sign(names.UNACCEPTED, False)


READER = Reader(frozenset({names.STRANGER, names.WITNESSED, names.WITNESS_MIXED, names.UNACCEPTED}), _read)

"""Signs of the far end's sockets that listen, and of the table that its host tracks connections in. Pure."""

from collections.abc import Iterator

from probemesh_shared.model import Listener, Place, WatchDetail
from probemesh_shared.words import PlaceKind, Transport

from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.steps import is_ours
from probemesh_controller.pair.hellos import is_request
from probemesh_controller.pair.owning import far_has, is_loopback
from probemesh_controller.pair.signs import Notes, Reader, Sign
from probemesh_controller.pair.view import View, plain_address

_ANY4 = ".".join("0000")
_ANY = frozenset({_ANY4, "::", "*", ""})


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
    fitting = [one for one in found if fits(one, view)]
    if fitting:
        text = f"on {view.far_name} a socket listens on {view.flow_name}, at {_where(fitting)}"
    elif found:
        text = f"on {view.far_name} {view.flow_name} is bound to {_where(found)} only, not to {view.address}"
    else:
        text = f"on {view.far_name} nothing listens on {view.flow_name}"
    seen = (notes.note(text),)
    yield Sign(names.LISTENING, bool(fitting), seen, service_of(view))
    elsewhere = bool(found) and not fitting
    yield Sign(names.ELSEWHERE, elsewhere, seen, values={"at": _where(found)})


def _spoken(view: View, notes: Notes) -> Iterator[Sign]:
    """Never False: what nobody made ready for a port may be answered all the same."""
    if view.transport is Transport.UDP and (is_ours(view) or is_request(view.port)):
        text = f"{view.near_name} asks {view.flow_name} what services of that port answer"
        yield Sign(names.SPOKEN, True, (notes.note(text),))


def fits(listener: Listener, view: View) -> bool:
    """Whether a packet to the address that is dialled ends there."""
    address, dialled = plain_address(listener.address), view.address or ""
    if listener.address in _ANY:
        # a v6 wildcard may take v4 as well, a v4 one never v6
        return listener.address != _ANY4 or ":" not in dialled
    if address == dialled:
        return True
    behind = far_has(view) is not True and bool(dialled) and not is_loopback(dialled)
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


def service_of(view: View) -> Place:
    return Place(PlaceKind.TARGET_SERVICE, view.address)


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
SPOKEN = Reader(frozenset({names.SPOKEN}), _spoken)
CONNTRACK = Reader(frozenset({names.CONNTRACK_FULL}), _conntrack)

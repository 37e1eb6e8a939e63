"""What became of one shot, as one word. Pure."""

from probemesh_shared import icmpcodes
from probemesh_shared.model import IcmpError, ShotSeen
from probemesh_shared.words import NOT_MEASURED, FailureKind, Family, Outcome

from probemesh_controller.pair.flow import names
from probemesh_controller.pair.owning import may_have
from probemesh_controller.pair.view import View, plain_address


def fate_of(shot: ShotSeen, view: View) -> str | None:
    """One of :data:`names.FATES` (``silent`` of one shot is just that one); None: it says nothing."""
    failure = shot.failure
    if failure is not None and failure.kind is FailureKind.LOCAL_FILTER and icmp_of(shot) is None:
        return names.SEND_FILTERED
    if failure is not None and failure.errno == "ENOBUFS" and shot.scheduled and not shot.sent:
        return names.SEND_FILTERED  # it was handed to the device's queue, and dropped there
    if failure is not None and failure.kind is FailureKind.NO_ROUTE and icmp_of(shot) is None:
        return names.NO_ROUTE
    if shot.outcome is Outcome.OK:
        return names.ANSWERED
    if (icmp := icmp_of(shot)) is not None:
        return _fate_of_error(icmp, shot, view)
    if shot.outcome in NOT_MEASURED:
        return None
    if shot.outcome in (Outcome.REFUSED, Outcome.RESET):
        return names.REFUSED
    return names.SILENT if shot.outcome is Outcome.TIMEOUT else None


def icmp_of(shot: ShotSeen) -> IcmpError | None:
    """The ICMP error that ended it; "fragmentation needed" and source quench end nothing."""
    found = [*shot.errors, *([shot.failure.icmp] if shot.failure and shot.failure.icmp else [])]
    return next((one for one in found if not _is_size(one)), None)


def _is_size(error: IcmpError) -> bool:
    if error.family is Family.IPV6:
        return error.type == 2
    return (error.type, error.code) == (3, 4) or error.type == 4


def _fate_of_error(icmp: IcmpError, shot: ShotSeen, view: View) -> str:
    sender = plain_address(icmp.sender) if icmp.sender else None
    own = sender is not None and (sender in view.near_own or sender == shot.local_address)
    if is_expired(icmp):
        return names.EXPIRED
    if own:
        return names.REJECTED_BY_SELF
    # an address that the far host does not have itself is a box that stands in front of it
    its = view.far_own
    if sender in its or (sender == view.address and (not its or may_have(view))):
        return names.REJECTED_BY_TARGET
    return names.REJECTED


def is_expired(icmp: IcmpError) -> bool:
    return icmpcodes.is_time_exceeded(icmp.family, icmp.type, icmp.code)


def is_host_unreachable(icmp: IcmpError) -> bool:
    return (icmp.type, icmp.code) == ((1, 3) if icmp.family is Family.IPV6 else (3, 1))


def is_port_unreachable(icmp: IcmpError) -> bool:
    return icmpcodes.is_port_unreachable(icmp.family, icmp.type, icmp.code)


def is_protocol_unreachable(icmp: IcmpError) -> bool:
    """IPv6 says so with a parameter problem."""
    return (icmp.type, icmp.code) == ((4, 1) if icmp.family is Family.IPV6 else (3, 2))


_ROUTE_V4 = frozenset({0, 1, 6, 7, 13})
_ROUTE_V6 = frozenset({0, 1, 3, 6})


def is_route_code(icmp: IcmpError) -> bool:
    """A router that has no way, or a prohibited one, sends this; so may a filter."""
    if icmp.family is Family.IPV6:
        return icmp.type == 1 and icmp.code in _ROUTE_V6
    return icmp.type == 3 and icmp.code in _ROUTE_V4


_WORDS_V4 = {
    0: "net unreachable",
    1: "host unreachable",
    2: "protocol unreachable",
    3: "port unreachable",
    5: "source route failed",
    6: "net unknown",
    7: "host unknown",
    8: "host isolated",
    9: "net administratively prohibited",
    10: "host administratively prohibited",
    11: "net unreachable for this kind of service",
    12: "host unreachable for this kind of service",
    13: "administratively prohibited",
    14: "host precedence violation",
    15: "precedence cutoff",
}
_WORDS_V6 = {
    0: "no route",
    1: "administratively prohibited",
    2: "beyond scope of the source",
    3: "address unreachable",
    4: "port unreachable",
    5: "source address failed policy",
    6: "reject route",
}


def error_words(icmp: IcmpError) -> str:
    """``"administratively prohibited" (ICMP 3/13)``"""
    version = "ICMPv6" if icmp.family is Family.IPV6 else "ICMP"
    number = f"{version} {icmp.type}/{icmp.code}"
    if is_expired(icmp):
        return f'"time exceeded" ({number})'
    unreachable = icmp.type == (1 if icmp.family is Family.IPV6 else 3)
    words = (_WORDS_V6 if icmp.family is Family.IPV6 else _WORDS_V4).get(icmp.code) if unreachable else None
    return f'"{words}" ({number})' if words else number

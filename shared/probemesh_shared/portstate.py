"""What a port's answer makes of it: ``open``, ``closed`` or ``filtered``, and by what. Pure.

The words are those of nmap's ``--reason``. They are told by ICMP type and code, errno and the kind of
failure; who sent an ICMP error stands in the failure itself.
"""

from collections.abc import Mapping
from types import MappingProxyType

from probemesh_shared.model import Failure, IcmpError
from probemesh_shared.words import FailureKind, Family, Origin

OPEN, CLOSED, FILTERED = "open", "closed", "filtered"
OPEN_FILTERED = "open|filtered"

_V4: Mapping[int, str] = MappingProxyType(
    {
        0: "net-unreach",
        1: "host-unreach",
        2: "proto-unreach",
        3: "port-unreach",
        9: "net-prohibited",
        10: "host-prohibited",
        13: "admin-prohibited",
    }
)
_V6: Mapping[int, str] = MappingProxyType(
    {
        0: "no-route",
        1: "admin-prohibited",
        2: "beyond-scope",
        3: "addr-unreach",
        4: "port-unreach",
        5: "source-prohibited",
        6: "reject-route",
    }
)
#: Without an ICMP error: what the kernel's errno is called.
_BY_ERRNO: Mapping[str, str] = MappingProxyType(
    {"EHOSTUNREACH": "host-unreach", "ENETUNREACH": "net-unreach", "EACCES": "admin-prohibited"}
)
#: Every reason there is, for the reference.
REASONS = (
    "syn-ack",
    "udp-response",
    "conn-refused",
    "reset",
    "no-response",
    *_V4.values(),
    "no-route",
    "beyond-scope",
    "addr-unreach",
    "source-prohibited",
    "reject-route",
    "time-exceeded",
    "unreach",
)


def icmp_reason(error: IcmpError) -> str:
    """The word for an ICMP or ICMPv6 error."""
    six = error.family is Family.IPV6
    if error.type == (3 if six else 11):
        return "time-exceeded"
    if error.type != (1 if six else 3):
        return "unreach"
    return (_V6 if six else _V4).get(error.code, "unreach")


def tcp_state(failure: Failure | None) -> tuple[str | None, str | None]:
    """``(state, reason)`` of a connect; both None where this host itself was why, and nothing is known.

    An ICMP error in answer to a SYN is a filter's doing, port unreachable included: a closed port answers
    with RST. A connection that was made and reset is ``open``.
    """
    if failure is None:
        return OPEN, "syn-ack"
    if failure.icmp is not None:
        return (None, None) if failure.origin is Origin.AGENT else (FILTERED, icmp_reason(failure.icmp))
    match failure.kind:
        case FailureKind.REFUSED:
            return CLOSED, "conn-refused"
        case FailureKind.RESET:
            return OPEN, "reset"
        case FailureKind.TIMEOUT:
            return FILTERED, "no-response"
        case FailureKind.UNREACHABLE | FailureKind.PROHIBITED:
            return FILTERED, _BY_ERRNO.get(failure.errno or "", "unreach")
        case _:
            return None, None


def udp_state(failure: Failure | None) -> tuple[str | None, str | None]:
    """The same for a datagram. Silence is ``open|filtered``; port unreachable from the target is ``closed``,
    from anybody else ``filtered``."""
    if failure is None or failure.kind in (FailureKind.ANSWER_UNEXPECTED, FailureKind.BAD_ANSWER):
        return OPEN, "udp-response"
    if failure.kind is FailureKind.TIMEOUT:
        return OPEN_FILTERED, "no-response"
    if failure.kind is FailureKind.REFUSED and failure.origin is Origin.TARGET:
        return CLOSED, "port-unreach"
    if failure.icmp is not None and failure.origin is not Origin.AGENT:
        return FILTERED, icmp_reason(failure.icmp)
    return None, None

"""What an ICMP or ICMPv6 error says, by type and code: the kind of failure and words for people. Pure.

The numbers are those of RFC 792, 1122, 1812 (ICMP) and RFC 4443, 8883 (ICMPv6). One errno covers many of
these (EHOSTUNREACH: 3/1, 3/10, 3/12-15 and 11/0), so whoever has the code classifies by the code.
"""

from dataclasses import dataclass

from probemesh_shared.words import FailureKind, Family


@dataclass(frozen=True, slots=True)
class IcmpMeaning:
    """``kind`` is what the error means for an attempt, ``words`` a phrase without subject."""

    kind: FailureKind
    words: str


_U, _P, _R = FailureKind.UNREACHABLE, FailureKind.PROHIBITED, FailureKind.REFUSED

_V4: dict[tuple[int, int], IcmpMeaning] = {
    (3, 0): IcmpMeaning(_U, "network unreachable"),
    (3, 1): IcmpMeaning(_U, "host unreachable"),
    (3, 2): IcmpMeaning(_U, "protocol unreachable"),
    (3, 3): IcmpMeaning(_R, "port unreachable"),
    (3, 4): IcmpMeaning(FailureKind.TOO_BIG, "fragmentation needed"),
    (3, 5): IcmpMeaning(_U, "source route failed"),
    (3, 6): IcmpMeaning(_U, "destination network unknown"),
    (3, 7): IcmpMeaning(_U, "destination host unknown"),
    (3, 8): IcmpMeaning(_U, "source host isolated"),
    (3, 9): IcmpMeaning(_P, "network administratively prohibited"),
    (3, 10): IcmpMeaning(_P, "host administratively prohibited"),
    (3, 11): IcmpMeaning(_U, "network unreachable for this type of service"),
    (3, 12): IcmpMeaning(_U, "host unreachable for this type of service"),
    (3, 13): IcmpMeaning(_P, "communication administratively prohibited"),
    (3, 14): IcmpMeaning(_P, "host precedence violation"),
    (3, 15): IcmpMeaning(_P, "precedence cutoff in effect"),
    (11, 0): IcmpMeaning(_U, "time to live exceeded in transit"),
    (11, 1): IcmpMeaning(_U, "fragment reassembly time exceeded"),
}

_V6: dict[tuple[int, int], IcmpMeaning] = {
    (1, 0): IcmpMeaning(_U, "no route to destination"),
    (1, 1): IcmpMeaning(_P, "communication administratively prohibited"),
    (1, 2): IcmpMeaning(_U, "beyond scope of source address"),
    (1, 3): IcmpMeaning(_U, "address unreachable"),
    (1, 4): IcmpMeaning(_R, "port unreachable"),
    (1, 5): IcmpMeaning(_P, "source address failed ingress or egress policy"),
    (1, 6): IcmpMeaning(_P, "reject route to destination"),
    (1, 7): IcmpMeaning(_U, "error in source routing header"),
    (1, 8): IcmpMeaning(_U, "headers too long"),
    (2, 0): IcmpMeaning(FailureKind.TOO_BIG, "packet too big"),
    (3, 0): IcmpMeaning(_U, "hop limit exceeded in transit"),
    (3, 1): IcmpMeaning(_U, "fragment reassembly time exceeded"),
}

#: Types whose every code means the same: what the code adds is in the number.
_V4_TYPES = {3: IcmpMeaning(_U, "destination unreachable"), 12: IcmpMeaning(_U, "parameter problem")}
_V6_TYPES = {1: IcmpMeaning(_U, "destination unreachable"), 4: IcmpMeaning(_U, "parameter problem")}


def meaning(family: Family, icmp_type: int, code: int) -> IcmpMeaning | None:
    """The meaning of an error; None where the type is no error that ends an attempt (redirect, source quench,
    echo reply, unassigned)."""
    exact, by_type = (_V6, _V6_TYPES) if family is Family.IPV6 else (_V4, _V4_TYPES)
    found = exact.get((icmp_type, code)) or by_type.get(icmp_type)
    if found is None and family is not Family.IPV6 and icmp_type == 11:
        return IcmpMeaning(_U, "time exceeded")
    if found is None and family is Family.IPV6 and icmp_type in (2, 3):
        return _V6[icmp_type, 0]
    return found


def is_port_unreachable(family: Family, icmp_type: int, code: int) -> bool:
    """3/3 of ICMP, 1/4 of ICMPv6."""
    return (icmp_type, code) == ((1, 4) if family is Family.IPV6 else (3, 3))


def is_time_exceeded(family: Family, icmp_type: int, code: int) -> bool:
    """The packet ran out of hops (11/0, 3/0); fragments that were never completed are another thing."""
    return (icmp_type, code) == ((3, 0) if family is Family.IPV6 else (11, 0))


__all__ = ["IcmpMeaning", "is_port_unreachable", "is_time_exceeded", "meaning"]

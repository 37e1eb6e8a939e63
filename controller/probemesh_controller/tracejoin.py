"""Two traces, there and back, laid side by side. Pure.

A router answers each direction from another of its addresses, so stations are matched by their distance from
the two ends, and links by network: what answers at station ``p`` on the way there, and what answers at
``p - 1`` on the way back, stand at the two ends of one link where both ways use it. Equal lengths alone prove
nothing: a way of the same length may lead elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from probemesh_shared.hopview import HopView, hop_views
from probemesh_shared.model import Measurement, TraceDetail
from probemesh_shared.words import Family

#: Networks within which two ends of one link are looked for.
_LINK = {4: 24, 6: 64}


@dataclass(frozen=True, slots=True)
class Station:
    """``position`` counts from FROM, which is 0. ``same_link``: the link towards FROM is used both ways."""

    position: int
    forward: HopView | None = None
    reverse: HopView | None = None
    same_link: bool | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """``stations`` is empty where one direction did not reach its end: then nothing can be matched.
    ``asymmetric`` None: not known."""

    family: Family
    forward: Measurement
    reverse: Measurement
    asymmetric: bool | None
    text: str
    stations: tuple[Station, ...] = ()


def join(forward: Sequence[Measurement], reverse: Sequence[Measurement]) -> tuple[Joined, ...]:
    """One for each family that both directions tried; of several addresses those that were reached first."""
    found = []
    for family in (Family.IPV4, Family.IPV6):
        there, back = _best(forward, family), _best(reverse, family)
        if there is not None and back is not None:
            found.append(_joined(family, there, back))
    return tuple(found)


def _best(rows: Sequence[Measurement], family: Family) -> Measurement | None:
    mine = [row for row in rows if row.address and (":" in row.address) is (family is Family.IPV6)]
    traced = [row for row in mine if isinstance(row.detail, TraceDetail)]
    reached = [row for row in traced if _distance(row) is not None]
    return next(iter(reached or traced), None)


def _distance(row: Measurement) -> int | None:
    detail = row.detail
    return detail.distance if isinstance(detail, TraceDetail) and detail.stand_in is None else None


def _joined(family: Family, there: Measurement, back: Measurement) -> Joined:
    length, return_length = _distance(there), _distance(back)
    if length is None or return_length is None:
        missing = "neither way" if length is None and return_length is None else "one way"
        return Joined(
            family, there, back, None, f"{missing} was walked to its end: nothing to lay side by side"
        )
    stations = _stations(there, back, length, return_length)
    if length != return_length:
        text = f"the way there has {length} hops, the way back {return_length}: they differ"
        return Joined(family, there, back, True, text, stations)
    links = [one.same_link for one in stations[2:-1]]
    other = [one.position for one in stations[2:-1] if one.same_link is False]
    if other:
        at = ", ".join(str(position) for position in other)
        text = f"both ways have {length} hops; towards station {at} they seem to use other links"
        return Joined(family, there, back, None, text, stations)
    if length == 1:
        return Joined(family, there, back, False, "the two ends are neighbours", stations)
    if links and all(links):
        return Joined(
            family, there, back, False, f"both ways have {length} hops and use the same links", stations
        )
    text = f"both ways have {length} hops; whether they use the same links is not known"
    return Joined(family, there, back, None, text, stations)


def _stations(there: Measurement, back: Measurement, length: int, return_length: int) -> tuple[Station, ...]:
    forward = {view.hop: view for view in _views(there)}
    reverse = {return_length - view.hop: view for view in _views(back)}
    found = []
    for position in range(max(length, return_length) + 1):
        same = _same_link(forward.get(position), reverse.get(position - 1))
        comparable = length == return_length and 1 < position < length
        found.append(
            Station(position, forward.get(position), reverse.get(position), same if comparable else None)
        )
    return tuple(found)


def _views(row: Measurement) -> tuple[HopView, ...]:
    return hop_views(row.detail, row.address) if isinstance(row.detail, TraceDetail) else ()


def _same_link(one: HopView | None, other: HopView | None) -> bool | None:
    if one is None or other is None or not one.addresses or not other.addresses:
        return None
    return any(_near(a, b) for a in one.addresses for b in other.addresses)


def _near(one: str, other: str) -> bool:
    try:
        address, neighbour = ip_address(one.partition("%")[0]), ip_address(other.partition("%")[0])
    except ValueError:
        return False
    if address.version != neighbour.version:
        return False
    return neighbour in ip_network(f"{address}/{_LINK[address.version]}", strict=False)


__all__ = ["Joined", "Station", "join"]

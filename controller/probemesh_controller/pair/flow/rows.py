"""What rows of the flow question have in common, and how they are worded. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from probemesh_shared.model import Place
from probemesh_shared.words import Confidence, PlaceKind, Transport, Verdict

from probemesh_controller.pair.causes import Cause, Told
from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.rungs import known_hops

TCP = frozenset({Transport.TCP})
UDP = frozenset({Transport.UDP})
ICMP = frozenset({Transport.ICMP})
PORTS = TCP | UDP
ALL = PORTS | ICMP

#: Without an agent that probes, and an address that it probes, nothing can be said of the network.
MEASURED: Mapping[str, bool] = {names.NEAR_GONE: False, names.NO_ADDRESS: False, names.IMPAIRED: False}

#: Nothing on the prober's own host stood in the way.
LEFT_HOME: Mapping[str, bool] = {names.NEAR_OUT_LOST: False, names.REPEAT_FAILED: False}
#: The far end had nothing of it, and its host ate nothing.
NEVER_CAME: Mapping[str, bool] = {
    names.DELIVERED: False,
    names.HOST_DROPPED: False,
    names.RPF_DROPPED: False,
    names.FORWARDED: False,
    names.ON_WIRE: False,
    names.RST_SENT: False,
    names.UNREACHABLE_SENT: False,
    names.OVERFLOWED: False,
    names.FAR_NO_ROUTE: False,
    names.EMBRYONIC: False,
    names.RETURN_ICMP: False,
    names.RETURN_EXPIRED: False,
}
#: What the target's own host does to it keeps no hop before that from answering for it.
REACHES_HOST: Mapping[str, bool] = {names.STOPS_SHORT: False}
#: It came all the way, and the answers were lost.
CAME: Mapping[str, bool] = {
    names.DELIVERED: True,
    names.HOST_DROPPED: False,
    names.FORWARDED: False,
    names.OVERFLOWED: False,
    names.FAR_NO_ROUTE: False,
}


def row(
    key: str,
    verdict: Verdict,
    summary: Callable[[Told], str],
    *predictions: Mapping[str, bool],
    proof: tuple[frozenset[str], ...] = (),
    place: Callable[[Told], Place | None] = lambda told: None,
    next_test: Callable[[Told], str | None] = lambda told: None,
    transports: frozenset[Transport] = ALL,
    when: Mapping[str, bool] | None = None,
    like: tuple[Verdict, ...] = (),
) -> Cause:
    """A cause of the flow question. Later predictions win over earlier ones; one that something else looks
    just like is never certain."""
    predicts = {**MEASURED}
    for more in predictions:
        predicts |= more
    return Cause(
        key,
        verdict,
        summary,
        predicts,
        proof,
        place,
        next_test,
        transports=transports,
        when=when or {},
        at_most=Confidence.LIKELY if like else Confidence.CERTAIN,
        like=like,
    )


def without_stand_in(causes: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """Where a box takes the target's address for itself, what did not come to the target was not lost on the
    way: it went elsewhere. Adds that to all that say it was lost."""
    return tuple(
        replace(cause, predicts={names.STANDS_IN: False, **cause.predicts}) if _was_lost(cause) else cause
        for cause in causes
    )


def _was_lost(cause: Cause) -> bool:
    predicts = cause.predicts
    here = predicts.get(names.DELIVERED) is False and predicts.get(names.HOST_DROPPED) is not True
    return here and cause.verdict is not Verdict.SOURCE_OUTPUT_FILTER and names.STANDS_IN not in predicts


# --- places -----------------------------------------------------------------------------------------------


def source_host(told: Told) -> Place | None:
    return Place(PlaceKind.SOURCE_HOST)


def target_host(told: Told) -> Place | None:
    return Place(PlaceKind.TARGET_HOST, told.view.address)


def target_service(told: Told) -> Place | None:
    return Place(PlaceKind.TARGET_SERVICE, told.view.address)


def behind_host(told: Told) -> Place | None:
    return Place(PlaceKind.BEHIND_HOST, told.view.address)


def sign_place(name: str) -> Callable[[Told], Place | None]:
    """Where the sign was seen; a hop's number where some ladder knows it."""

    def place(told: Told) -> Place | None:
        found = told.signs[name].place
        if found is None or found.kind is not PlaceKind.HOP or found.hop is not None:
            return found
        hop = next((ttl for ttl, who in sorted(known_hops(told.view).items()) if who == found.address), None)
        return Place(found.kind, found.address, hop)

    return place


def nowhere(told: Told) -> Place | None:
    return None


# --- words ------------------------------------------------------------------------------------------------


def pair(told: Told) -> str:
    return f"{told.view.near_name} → {told.view.far_name}, {told.view.flow_name}"


def says(text: str) -> Callable[[Told], str]:
    """``{near}``, ``{far}``, ``{flow}``, ``{address}`` stand for what they say; the sentence begins with the
    pair."""

    def summary(told: Told) -> str:
        return f"{pair(told)}: {fill(text, told)}"

    return summary


def fill(text: str, told: Told, at: str = "") -> str:
    """``text`` is ours alone: nothing that anybody told may be part of it, or it could ask for anything."""
    view = told.view
    return text.format(
        near=view.near_name, far=view.far_name, flow=view.flow_name, address=view.address, at=at
    )


def test(text: str) -> Callable[[Told], str | None]:
    return lambda told: fill(text, told)


def at_place(text: str, place: Callable[[Told], Place | None]) -> Callable[[Told], str]:
    """``{at}`` in ``text`` is the place, as people name it: ``at hop 1 (10.1.0.1)``."""

    def summary(told: Told) -> str:
        return f"{pair(told)}: {fill(text, told, said_place(place(told)))}"

    return summary


def said_place(place: Place | None) -> str:
    if place is None:
        return "on the way"
    where = f" ({place.address})" if place.address else ""
    if place.kind is PlaceKind.BETWEEN:
        if not place.hop:
            return "before the first hop that would answer"
        return f"at hop {place.hop}{where} or just behind it"
    if place.kind is PlaceKind.HOP:
        return f"at hop {place.hop}{where}" if place.hop else f"at {place.address}"
    return f"at {place.address}" if place.address else "on the way"

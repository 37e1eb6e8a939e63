"""Causes: something between the two did not let it through."""

from probemesh_shared.model import Place
from probemesh_shared.words import PlaceKind, Verdict

from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.rows import (
    ICMP,
    LEFT_HOME,
    NEVER_CAME,
    PORTS,
    TCP,
    at_place,
    row,
    says,
    sign_place,
    test,
)

_STOP = sign_place(names.STOPS_SHORT)
_ASK = test("look at the rules for {flow} at that hop, towards {address}")


def _rejecter(told: Told) -> Place | None:
    return sign_place(names.REJECTED)(told)


def _one_way_place(told: Told) -> Place | None:
    """The box that holds the address which is dialled, where that is not the far end's own."""
    if told.signs.holds(names.AT_BOX) and told.view.address is not None:
        return Place(PlaceKind.HOP, told.view.address)
    return _STOP(told)


def _resetter(told: Told) -> Place | None:
    return told.signs[names.REFUSED_SHORT].place


_DROPPED = {names.SILENT: True, names.ONE_WAY: False, names.SYN_ONLY: False, **LEFT_HOME, **NEVER_CAME}

_ONE_WAY = {names.ONE_WAY: True, names.SYN_ONLY: False, **LEFT_HOME, **NEVER_CAME, names.OTHER_SOURCE: False}
_TURNED_AWAY = (
    "{address}, the NAT in front of {far}, lets only {far} open flows: it turns away what {near} opens, "
    "and passes replies"
)
_RULE = test("if {near} is to open flows to {far}, the firewall or NAT in front of it needs a rule")

DROPS: tuple[Cause, ...] = (
    row(
        "forward-drop/short",
        Verdict.FORWARD_DROP,
        at_place("dropped on the way there, {at}; nothing of it came to {far}", _STOP),
        _DROPPED,
        {names.STOPS_SHORT: True},
        proof=proven_by((names.SILENT, names.STOPS_SHORT)),
        place=_STOP,
        transports=PORTS,
        next_test=_ASK,
    ),
    row(
        "forward-drop/last",
        Verdict.FORWARD_DROP,
        at_place("dropped on the way there, {at}; nothing of it came to {far}", _STOP),
        _DROPPED,
        {names.STOPS_SHORT: False},
        place=_STOP,
        transports=PORTS,
        next_test=_ASK,
    ),
    row(
        "forward-drop/ping-short",
        Verdict.FORWARD_DROP,
        at_place("dropped on the way there, {at}; nothing of it came to {far}", _STOP),
        _DROPPED,
        {names.STOPS_SHORT: True, names.OTHER_WORKS: False},
        proof=proven_by((names.SILENT, names.STOPS_SHORT)),
        place=_STOP,
        transports=ICMP,
        next_test=_ASK,
    ),
    row(
        "forward-drop/ping",
        Verdict.FORWARD_DROP,
        says("dropped on the way there; nothing of it came to {far}"),
        _DROPPED,
        {names.OTHER_WORKS: False},
        place=_STOP,
        transports=ICMP,
    ),
    row(
        "blackhole",
        Verdict.BLACKHOLE,
        at_place("nothing at all gets to {far}, whatever the port and protocol: it ends {at}", _STOP),
        _DROPPED,
        {names.OTHER_WORKS: False, names.BACK_WORKS: False},
        place=_STOP,
        next_test=test("compare the routes to {address} along the way"),
    ),
    row(
        "syn-filter",
        Verdict.SYN_FILTER,
        says("a filter drops every SYN on the way there; segments of connections that {far} opens pass"),
        _DROPPED,
        {names.SYN_ONLY: True},
        proof=proven_by((names.SILENT, names.SYN_ONLY)),
        place=_STOP,
        transports=TCP,
        next_test=_ASK,
    ),
    row(
        "one-way-initiation",
        Verdict.ONE_WAY_INITIATION,
        says("a stateful box lets only {far} open flows: what {near} opens never arrives, its replies do"),
        {**_ONE_WAY, names.SILENT: True},
        proof=proven_by((names.ONE_WAY,)),
        place=_one_way_place,
        next_test=_RULE,
    ),
    row(
        # its own host has nobody on that port; a filter may say the same
        "one-way-initiation/reset",
        Verdict.ONE_WAY_INITIATION,
        says(_TURNED_AWAY),
        {**_ONE_WAY, names.REFUSED: True},
        proof=proven_by((names.ONE_WAY,)),
        place=_one_way_place,
        transports=TCP,
        when={names.AT_BOX: True},
        next_test=_RULE,
        like=(Verdict.FORWARD_RESET,),
    ),
    row(
        "one-way-initiation/unreachable",
        Verdict.ONE_WAY_INITIATION,
        says(_TURNED_AWAY),
        {**_ONE_WAY, names.REJECTED: True, names.BOX_REJECTS: True, names.BOX_FILTERS: False},
        proof=proven_by((names.ONE_WAY,)),
        place=_one_way_place,
        when={names.AT_BOX: True},
        next_test=_RULE,
        like=(Verdict.FORWARD_REJECT,),
    ),
    row(
        "icmp-echo-filtered",
        Verdict.ICMP_ECHO_FILTERED,
        says("ping is filtered; other packets get through to {far}"),
        {names.SILENT: True, names.OTHER_WORKS: True, **LEFT_HOME, names.HOST_DROPPED: False},
        {names.FAR_OUT_LOST: False},
        proof=proven_by((names.SILENT, names.OTHER_WORKS)),
        transports=ICMP,
    ),
    row(
        "routing-loop",
        Verdict.ROUTING_LOOP,
        at_place("packets circle until their hops run out: time exceeded {at}", sign_place(names.EXPIRED)),
        {names.EXPIRED: True},
        proof=proven_by((names.EXPIRED,)),
        place=sign_place(names.EXPIRED),
        next_test=test("compare the routes to {address} of the two routers"),
    ),
)

REJECTS: tuple[Cause, ...] = (
    row(
        "forward-reject",
        Verdict.FORWARD_REJECT,
        at_place("rejected {at} with an ICMP error", _rejecter),
        {names.REJECTED: True, names.ONE_WAY: False, names.BOX_REJECTS: False, **LEFT_HOME, **NEVER_CAME},
        {names.PRIVATE: False},
        proof=proven_by((names.REJECTED,)),
        place=_rejecter,
        next_test=_ASK,
    ),
    row(
        # is the far end there at all, seen from here
        "forward-reject/private",
        Verdict.FORWARD_REJECT,
        at_place("rejected {at} with an ICMP error", _rejecter),
        {names.REJECTED: True, names.ONE_WAY: False, names.BOX_REJECTS: False, **LEFT_HOME, **NEVER_CAME},
        {names.SEEN_THERE: True},
        proof=proven_by((names.REJECTED, names.SEEN_THERE)),
        place=_rejecter,
        when={names.PRIVATE: True},
        next_test=_ASK,
    ),
    row(
        # a firewall that lets nobody begin from here, and says so
        "forward-reject/one-way",
        Verdict.FORWARD_REJECT,
        at_place("rejected {at} with an ICMP error, as is all that {near} opens", _rejecter),
        {names.REJECTED: True, names.BOX_REJECTS: False, **LEFT_HOME, **NEVER_CAME},
        proof=proven_by((names.REJECTED,)),
        place=_rejecter,
        when={names.REJECTED: True, names.ONE_WAY: True},
        next_test=_ASK,
    ),
    row(
        # what other codes say is said by the box of itself: nobody has that port there
        "forward-reject/box",
        Verdict.FORWARD_REJECT,
        says("{address} is the NAT in front of {far}, and a filter of its own rejects what {near} opens"),
        {names.REJECTED: True, names.BOX_FILTERS: True, **NEVER_CAME},
        proof=proven_by((names.REJECTED, names.BOX_FILTERS)),
        place=_rejecter,
        when={names.BOX_FILTERS: True},
        next_test=test("look at the rules of {address} for what comes from outside, {flow}"),
    ),
    row(
        # a bridge that filters rejects with the address of whom it stands before
        "forward-reject/in-its-name",
        Verdict.FORWARD_REJECT,
        says("a box close before {far} rejects it in {far}'s name; {far} itself saw nothing of it"),
        {names.REJECTED_BY_TARGET: True, names.STANDS_IN: False, **NEVER_CAME},
        proof=proven_by((names.REJECTED_BY_TARGET, names.HOST_DROPPED, names.STANDS_IN)),
        when={names.HOST_DROPPED: False},
        next_test=_ASK,
    ),
    row(
        "forward-no-route",
        Verdict.FORWARD_NO_ROUTE,
        at_place("the router {at} has no way to {address}", _rejecter),
        {names.REJECTED: True, names.ONE_WAY: False, names.ROUTE_CODE: True, names.OTHER_WORKS: False},
        {names.BOX_REJECTS: False, names.BACK_WORKS: False},
        {**LEFT_HOME, **NEVER_CAME},
        proof=proven_by((names.REJECTED, names.ROUTE_CODE, names.OTHER_WORKS)),
        place=_rejecter,
        next_test=test("there: ip route get {address}"),
    ),
    row(
        "destination-nat-wrong-host",
        Verdict.DESTINATION_NAT_WRONG_HOST,
        at_place(
            "a box {at} takes {address} for itself, and hands what {near} sends there to another host",
            sign_place(names.STANDS_IN),
        ),
        {names.STANDS_IN: True, names.WITNESSED: False, **NEVER_CAME},
        proof=proven_by((names.STANDS_IN, names.DELIVERED), (names.STANDS_IN, names.WITNESSED)),
        place=sign_place(names.STANDS_IN),
        when={names.STANDS_IN: True},
        next_test=test("look at what that box translates (DNAT) for {address}, {flow}"),
    ),
    row(
        "forward-reset/short",
        Verdict.FORWARD_RESET,
        at_place("a box on the way answers with a RST in {far}'s name, {at}", _resetter),
        {names.REFUSED: True, names.REFUSED_SHORT: True, **LEFT_HOME, **NEVER_CAME},
        {names.TURNED_AWAY: False},
        proof=proven_by((names.REFUSED, names.REFUSED_SHORT)),
        place=_resetter,
        transports=TCP,
        next_test=_ASK,
    ),
    row(
        "forward-reset/last",
        Verdict.FORWARD_RESET,
        says("a box close before {far} answers with a RST in its name; {far} itself saw nothing of it"),
        {names.REFUSED: True, names.REFUSED_SHORT: False, **LEFT_HOME, **NEVER_CAME},
        {names.AT_BOX: False},
        proof=proven_by((names.REFUSED, names.DELIVERED, names.HOST_DROPPED, names.RST_SENT)),
        place=lambda told: _before_target(told),
        transports=TCP,
        next_test=test("look at the rules of the last router before {address}"),
    ),
)


def _before_target(told: Told) -> Place | None:
    """The last router, where a ladder named it."""
    from probemesh_controller.pair.flow.rungs import distance, known_hops

    far, hops = distance(told.view), known_hops(told.view)
    if far is None or far - 1 not in hops:
        return None
    return Place(PlaceKind.HOP, hops[far - 1], far - 1)


CAUSES: tuple[Cause, ...] = (*DROPS, *REJECTS)

"""Causes: it arrived, and the answer did not come back."""

from probemesh_shared.model import Place
from probemesh_shared.words import Verdict

from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.rows import (
    ALL,
    CAME,
    ICMP,
    LEFT_HOME,
    REACHES_HOST,
    TCP,
    UDP,
    row,
    says,
    target_host,
    test,
)

LOST = {names.SILENT: True, **LEFT_HOME, **CAME}
#: What came back for the answers says nothing bad, and the target's own host let them out.
_CLEAN = {
    names.EMBRYONIC: False,
    names.RETURN_ICMP: False,
    names.RETURN_EXPIRED: False,
    names.FAR_OUT_LOST: False,
    names.BACK_HALF: False,
}
_OUTPUT = test("look at the output rules of {far} (nft list ruleset) for source port {flow}")
_ASK = test("look at the rules for what comes from {address}, {flow}, on the way back to {near}")


def _return_stop(told: Told) -> Place | None:
    """The last hop that lets out what looks like the answer; its number counts from the far end, so it is
    left out."""
    found = told.signs[names.RETURN_STOPS].place
    return Place(found.kind, found.address) if found is not None and found.address else None


CAUSES: tuple[Cause, ...] = (
    row(
        "return-drop/tcp",
        Verdict.RETURN_DROP,
        says("it arrives at {far}, and the answer is dropped on the way back"),
        LOST,
        _CLEAN,
        {names.RETURN_LEAVES: True, names.PORT_SHUT: False},
        proof=proven_by((names.SILENT, names.DELIVERED)),
        transports=TCP,
        place=_return_stop,
        next_test=_ASK,
    ),
    row(
        "return-drop/udp",
        Verdict.RETURN_DROP,
        says("it arrives at {far}, which answers, and the answer is dropped on the way back"),
        LOST,
        _CLEAN,
        {names.FAR_REPLIED: True, names.UNREACHABLE_SENT: False, names.OTHER_SOURCE: False},
        proof=proven_by((names.SILENT, names.DELIVERED, names.FAR_REPLIED)),
        transports=UDP,
        next_test=_ASK,
    ),
    row(
        "return-drop/ping",
        Verdict.RETURN_DROP,
        says("it arrives at {far}, and nothing comes back from there"),
        LOST,
        {
            names.OTHER_WORKS: False,
            names.RETURN_ICMP: False,
            names.RETURN_EXPIRED: False,
            names.FAR_OUT_LOST: False,
        },
        proof=proven_by((names.SILENT, names.DELIVERED)),
        transports=ICMP,
        next_test=_ASK,
    ),
    row(
        "return-drop/no-route",
        Verdict.RETURN_DROP,
        says("it arrives at {far}, which has no route back to {near}: the answer never leaves it"),
        {names.SILENT: True, **LEFT_HOME, names.HOST_DROPPED: False, names.FORWARDED: False},
        {names.FAR_NO_ROUTE: True, **REACHES_HOST},
        proof=proven_by((names.SILENT, names.FAR_NO_ROUTE)),
        place=target_host,
        next_test=test("on {far}: ip route get the address of {near}"),
    ),
    row(
        "return-reject",
        Verdict.RETURN_REJECT,
        says("it arrives at {far}, and a box on the way back rejects the answer with an ICMP error"),
        {names.SILENT: True, **LEFT_HOME, names.RETURN_ICMP: True, names.EMBRYONIC: False},
        {names.HOST_DROPPED: False, names.FAR_OUT_LOST: False, names.UNREACHABLE_SENT: False},
        {names.FAR_REJECTS: False},
        proof=proven_by((names.SILENT, names.RETURN_ICMP)),
        transports=ALL,
        next_test=_ASK,
    ),
    row(
        "return-reset",
        Verdict.RETURN_RESET,
        says("it arrives at {far}, and a box on the way back answers {far}'s SYN-ACKs with RSTs"),
        {names.SILENT: True, **LEFT_HOME, names.EMBRYONIC: True, names.HOST_DROPPED: False},
        proof=proven_by((names.SILENT, names.EMBRYONIC)),
        transports=TCP,
        next_test=_ASK,
    ),
    row(
        "routing-loop/return",
        Verdict.ROUTING_LOOP,
        says("it arrives at {far}, and the answer circles on the way back until its hops run out"),
        LOST,
        {names.RETURN_EXPIRED: True, names.EMBRYONIC: False},
        proof=proven_by((names.SILENT, names.RETURN_EXPIRED)),
        next_test=test("compare the routes to {near} of the routers on the way back"),
    ),
    row(
        "target-output-filter/hook",
        Verdict.TARGET_OUTPUT_FILTER,
        says("it arrives at {far}, and {far}'s own output filter drops the answer"),
        {**LOST, **REACHES_HOST},
        {names.FAR_OUT_LOST: True, names.SYNACK_REPEATED: False, names.EMBRYONIC: False},
        {names.RETURN_LEAVES: False, names.RETURN_ICMP: False},
        proof=proven_by((names.SILENT, names.FAR_OUT_LOST)),
        place=target_host,
        transports=TCP,
        next_test=_OUTPUT,
    ),
    row(
        # without a counter of what leaves
        "target-output-filter/port",
        Verdict.TARGET_OUTPUT_FILTER,
        says("it arrives at {far}, and {far}'s own host drops what leaves the port"),
        {**LOST, **REACHES_HOST},
        {names.FAR_OUT_LOST: True, names.SYNACK_REPEATED: False, names.EMBRYONIC: False},
        {names.RETURN_LEAVES: False, names.RETURN_ICMP: False, names.PORT_SHUT: True},
        proof=proven_by((names.SILENT, names.DELIVERED, names.PORT_SHUT)),
        place=target_host,
        transports=TCP,
        next_test=_OUTPUT,
    ),
    row(
        "target-output-filter/reject",
        Verdict.TARGET_OUTPUT_FILTER,
        says("it arrives at {far}, and {far}'s own output filter rejects the answer"),
        {**LOST, **REACHES_HOST},
        {names.FAR_OUT_LOST: True, names.SYNACK_REPEATED: False, names.EMBRYONIC: False},
        {names.RETURN_LEAVES: False, names.RETURN_ICMP: True, names.FAR_REJECTS: True},
        proof=proven_by(
            (names.SILENT, names.FAR_OUT_LOST), (names.SILENT, names.RETURN_ICMP, names.FAR_REJECTS)
        ),
        place=target_host,
        transports=TCP,
        next_test=_OUTPUT,
    ),
    row(
        # a socket that may not send does not count it as sent
        "target-output-filter/datagrams",
        Verdict.TARGET_OUTPUT_FILTER,
        says("it arrives at {far}, and {far}'s own output filter drops the answer"),
        {**LOST, **REACHES_HOST},
        {names.FAR_OUT_LOST: True, names.FAR_REPLIED: False, names.RETURN_LEAVES: False},
        {names.UNREACHABLE_SENT: False, names.OTHER_SOURCE: False},
        proof=proven_by((names.SILENT, names.FAR_OUT_LOST)),
        place=target_host,
        transports=UDP,
        next_test=_OUTPUT,
    ),
    row(
        "target-output-filter/ping",
        Verdict.TARGET_OUTPUT_FILTER,
        says("it arrives at {far}, and {far}'s own output filter drops the answer"),
        {**LOST, **REACHES_HOST},
        {names.FAR_OUT_LOST: True},
        proof=proven_by((names.SILENT, names.FAR_OUT_LOST)),
        place=target_host,
        transports=ICMP,
        when={names.FAR_OUT_LOST: True},
        next_test=_OUTPUT,
    ),
    row(
        "target-output-filter/egress",
        Verdict.TARGET_OUTPUT_FILTER,
        says("it arrives at {far}, and the answer is dropped as it leaves {far}, behind the host's counters"),
        {**LOST, **REACHES_HOST},
        {names.FAR_OUT_LOST: False, names.SYNACK_REPEATED: False, names.EMBRYONIC: False},
        {names.RETURN_ICMP: False, names.BACK_HALF: False, names.RETURN_LEAVES: False},
        {names.RETURN_EXPIRED: False},
        place=target_host,
        transports=TCP,
    ),
    row(
        "asymmetric-stateful/forward",
        Verdict.ASYMMETRIC_STATEFUL,
        says(
            "the answer goes back by another way than the request came, through a stateful firewall that "
            "never saw the SYN; UDP passes"
        ),
        LOST,
        {names.BACK_HALF: True, names.EMBRYONIC: False, names.FAR_OUT_LOST: False, names.UDP_CONTROL: True},
        proof=proven_by((names.SILENT, names.BACK_HALF)),
        transports=TCP,
        next_test=test("compare the routes both ways: meshctl trace {near} {far}"),
    ),
    row(
        "asymmetric-stateful/backward",
        Verdict.ASYMMETRIC_STATEFUL,
        says(
            "it connects for {near}, and stays half open at {far}: the two ways differ, and a stateful "
            "firewall on one of them sees only half of the handshake"
        ),
        {names.ANSWERED: True, names.NEVER_COMPLETED: True, names.OVERFLOWED: False, names.FORWARDED: False},
        proof=proven_by((names.NEVER_COMPLETED,)),
        transports=TCP,
        next_test=test("compare the routes both ways: meshctl trace {near} {far}"),
    ),
)

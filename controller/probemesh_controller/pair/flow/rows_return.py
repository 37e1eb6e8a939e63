"""Causes: it arrived, and the answer did not come back; or the service is the matter."""

from probemesh_shared.model import Place
from probemesh_shared.words import Verdict

from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.rows import (
    ALL,
    CAME,
    ICMP,
    LEFT_HOME,
    PORTS,
    TCP,
    UDP,
    behind_host,
    row,
    says,
    target_host,
    target_service,
    test,
)

_LOST = {names.SILENT: True, **LEFT_HOME, **CAME}
#: What came back for the answers says nothing bad, and the target's own host let them out.
_CLEAN = {
    names.EMBRYONIC: False,
    names.RETURN_ICMP: False,
    names.RETURN_EXPIRED: False,
    names.FAR_OUT_LOST: False,
    names.BACK_HALF: False,
}
_ASK = test("look at the rules for what comes from {address}, {flow}, on the way back to {near}")


def _return_stop(told: Told) -> Place | None:
    """The last hop that lets out what looks like the answer; its number counts from the far end, so it is
    left out."""
    found = told.signs[names.RETURN_STOPS].place
    return Place(found.kind, found.address) if found is not None and found.address else None


RETURN: tuple[Cause, ...] = (
    row(
        "return-drop/tcp",
        Verdict.RETURN_DROP,
        says("it arrives at {far}, and the answer is dropped on the way back"),
        _LOST,
        _CLEAN,
        {names.RETURN_LEAVES: True},
        proof=proven_by((names.SILENT, names.DELIVERED)),
        transports=TCP,
        place=_return_stop,
        next_test=_ASK,
    ),
    row(
        "return-drop/udp",
        Verdict.RETURN_DROP,
        says("it arrives at {far}, which answers, and the answer is dropped on the way back"),
        _LOST,
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
        _LOST,
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
        {names.FAR_NO_ROUTE: True},
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
        _LOST,
        {names.RETURN_EXPIRED: True, names.EMBRYONIC: False},
        proof=proven_by((names.SILENT, names.RETURN_EXPIRED)),
        next_test=test("compare the routes to {near} of the routers on the way back"),
    ),
    row(
        "target-output-filter/hook",
        Verdict.TARGET_OUTPUT_FILTER,
        says("it arrives at {far}, and {far}'s own output filter drops the answer"),
        _LOST,
        {names.FAR_OUT_LOST: True, names.SYNACK_REPEATED: False, names.EMBRYONIC: False},
        {names.RETURN_LEAVES: False},
        proof=proven_by((names.SILENT, names.FAR_OUT_LOST)),
        place=target_host,
        next_test=test("look at the output rules of {far} (nft list ruleset) for source port {flow}"),
    ),
    row(
        "target-output-filter/egress",
        Verdict.TARGET_OUTPUT_FILTER,
        says("it arrives at {far}, and the answer is dropped as it leaves {far}, behind the host's counters"),
        _LOST,
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
        _LOST,
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

SERVICE: tuple[Cause, ...] = (
    row(
        "port-closed/tcp",
        Verdict.PORT_CLOSED,
        says("nothing listens there on {far}; the path is fine both ways: {far} itself answered with a RST"),
        {names.REFUSED: True, names.REFUSED_SHORT: False, names.LISTENING: False, names.ELSEWHERE: False},
        {names.RST_SENT: True, names.HOST_DROPPED: False, names.FORWARDED: False, **LEFT_HOME},
        proof=proven_by((names.REFUSED, names.LISTENING, names.RST_SENT)),
        place=target_service,
        transports=TCP,
        next_test=test("start the service on {far}, or ask for the port that it listens on"),
    ),
    row(
        "port-closed/udp",
        Verdict.PORT_CLOSED,
        says(
            "nothing listens there on {far}; the path is fine: {far} itself answered that the port is closed"
        ),
        {
            names.REJECTED_BY_TARGET: True,
            names.LISTENING: False,
            names.ELSEWHERE: False,
            names.PORT_CODE: True,
        },
        {names.UNREACHABLE_SENT: True, names.HOST_DROPPED: False, names.FORWARDED: False},
        proof=proven_by((names.REJECTED_BY_TARGET, names.LISTENING, names.UNREACHABLE_SENT)),
        place=target_service,
        transports=UDP,
        next_test=test("start the service on {far}, or ask for the port that it listens on"),
    ),
    row(
        "port-closed/udp-unsaid",
        Verdict.PORT_CLOSED,
        says("nothing listens there on {far}; it arrives, and what says so (ICMP) does not come back"),
        {names.SILENT: True, names.LISTENING: False, names.ELSEWHERE: False, names.UNREACHABLE_SENT: True},
        {names.HOST_DROPPED: False, names.FORWARDED: False},
        proof=proven_by((names.SILENT, names.LISTENING, names.UNREACHABLE_SENT)),
        place=target_service,
        transports=UDP,
        next_test=test("start the service on {far}, or ask for the port that it listens on"),
    ),
    row(
        "listening-elsewhere/tcp",
        Verdict.LISTENING_ELSEWHERE,
        says("the service on {far} is bound to another address than {address}; the path is fine"),
        {names.REFUSED: True, names.REFUSED_SHORT: False, names.LISTENING: False, names.ELSEWHERE: True},
        {names.RST_SENT: True, names.HOST_DROPPED: False, names.FORWARDED: False, **LEFT_HOME},
        proof=proven_by((names.REFUSED, names.ELSEWHERE, names.RST_SENT)),
        place=target_service,
        transports=TCP,
        next_test=test("bind the service on {far} to {address}, or to every address"),
    ),
    row(
        "listening-elsewhere/udp",
        Verdict.LISTENING_ELSEWHERE,
        says("the service on {far} is bound to another address than {address}; the path is fine"),
        {
            names.REJECTED_BY_TARGET: True,
            names.LISTENING: False,
            names.ELSEWHERE: True,
            names.PORT_CODE: True,
        },
        {names.UNREACHABLE_SENT: True, names.HOST_DROPPED: False, names.FORWARDED: False},
        proof=proven_by((names.REJECTED_BY_TARGET, names.ELSEWHERE, names.UNREACHABLE_SENT)),
        place=target_service,
        transports=UDP,
        next_test=test("bind the service on {far} to {address}, or to every address"),
    ),
    row(
        "accept-overload",
        Verdict.ACCEPT_OVERLOAD,
        says("it arrives at {far}, and the queue of the service is full: it takes nothing more"),
        {names.SILENT: True, names.OVERFLOWED: True, names.HOST_DROPPED: False, **LEFT_HOME},
        proof=proven_by((names.SILENT, names.OVERFLOWED)),
        place=target_service,
        transports=PORTS,
        next_test=test("see why the service on {far} does not accept (ss -ltn: Recv-Q against Send-Q)"),
    ),
    row(
        "accept-overload/half",
        Verdict.ACCEPT_OVERLOAD,
        says("it connects for {near}, and the queue of the service on {far} is full: it takes nothing more"),
        {names.ANSWERED: True, names.NEVER_COMPLETED: True, names.OVERFLOWED: True},
        proof=proven_by((names.NEVER_COMPLETED, names.OVERFLOWED)),
        place=target_service,
        transports=TCP,
        next_test=test("see why the service on {far} does not accept (ss -ltn: Recv-Q against Send-Q)"),
    ),
    row(
        "service-unresponsive/udp",
        Verdict.SERVICE_UNRESPONSIVE,
        says("it arrives at the service on {far}, which sends no answer; the path is fine"),
        _LOST,
        {
            names.FAR_REPLIED: False,
            names.LISTENING: True,
            names.UNREACHABLE_SENT: False,
            names.FAR_REPORTS: True,
        },
        {names.UDP_CONTROL: True, names.FAR_OUT_LOST: False, names.OTHER_SOURCE: False},
        proof=proven_by((names.SILENT, names.DELIVERED, names.UDP_CONTROL, names.LISTENING)),
        place=target_service,
        transports=UDP,
        next_test=test("ask the service on {far} something that it answers, from {far} itself"),
    ),
    row(
        "silent-service",
        Verdict.SILENT_SERVICE,
        says("the service on {far} may just not answer what was sent"),
        {names.SILENT: True, names.FAR_REPORTS: False, names.DELIVERED: True},
        place=target_service,
        transports=UDP,
    ),
    row(
        "reply-from-other-address",
        Verdict.REPLY_FROM_OTHER_ADDRESS,
        says("{far} answers, but from another address than was asked, so that {near} does not take it"),
        {names.OTHER_SOURCE: True, names.ANSWERED: False},
        proof=proven_by((names.OTHER_SOURCE,)),
        place=target_service,
        transports=UDP,
        next_test=test("bind the service on {far} to one address, or let it answer from where it was asked"),
    ),
    row(
        "target-host-forwards/open",
        Verdict.TARGET_HOST_FORWARDS,
        says("{far} does not answer itself: it passes the port on to something behind it"),
        {names.FORWARDED: True},
        proof=proven_by((names.FORWARDED,)),
        place=behind_host,
        when={names.LISTENING: False},
        next_test=test("on {far}: nft list ruleset; look where {flow} is passed on to (containers, DNAT)"),
    ),
)

#: Does somebody take what gets through?
TAKEN = "taken"

TAKERS: tuple[Cause, ...] = (
    Cause(
        "taken/yes",
        Verdict.REACHABLE,
        says("the service on {far} takes its connections"),
        {names.UNACCEPTED: False},
        question=TAKEN,
        transports=TCP,
        when={names.ANSWERED: True, names.LISTENING: True},
    ),
    Cause(
        "taken/no",
        Verdict.SERVICE_UNRESPONSIVE,
        says("it connects, and the service on {far} does not take the connection: the path is fine"),
        {names.UNACCEPTED: True},
        proven_by((names.UNACCEPTED,)),
        target_service,
        test("see what the service on {far} is busy with (ss -ltn: Recv-Q; is the process stopped?)"),
        question=TAKEN,
        transports=TCP,
        when={names.ANSWERED: True, names.LISTENING: True},
    ),
)

CAUSES: tuple[Cause, ...] = (*RETURN, *SERVICE, *TAKERS)

"""Causes: the path is fine, and the service is the matter; or somebody else answers in its place."""

from collections.abc import Mapping

from probemesh_shared.words import Verdict

from probemesh_controller.pair.causes import Cause, proven_by
from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.rows import (
    LEFT_HOME,
    PORTS,
    REACHES_HOST,
    TCP,
    UDP,
    behind_host,
    row,
    says,
    target_service,
    test,
)
from probemesh_controller.pair.flow.rows_return import LOST

#: A datagram came to the service, which sent none back.
_TAKEN_IN_SILENCE = {
    **LOST,
    **REACHES_HOST,
    names.FAR_REPLIED: False,
    names.LISTENING: True,
    names.UNREACHABLE_SENT: False,
    names.FAR_REPORTS: True,
    names.UDP_CONTROL: True,
    names.FAR_OUT_LOST: False,
    names.OTHER_SOURCE: False,
}
_ASK_IT = test("ask the service on {far} something that it answers, from {far} itself")

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
        {names.DELIVERED: True, **REACHES_HOST},
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
        {**_TAKEN_IN_SILENCE, names.SPOKEN: True},
        proof=proven_by((names.SILENT, names.DELIVERED, names.UDP_CONTROL, names.LISTENING, names.SPOKEN)),
        place=target_service,
        transports=UDP,
        next_test=_ASK_IT,
    ),
    row(
        # services over UDP ignore what is no request of theirs (SIP, QUIC, RADIUS, WireGuard, syslog)
        "silent-service/delivered",
        Verdict.SILENT_SERVICE,
        says(
            "it arrives at the service on {far}, which need not answer what it does not know: it was told "
            "no request of its protocol; the path is fine"
        ),
        {**_TAKEN_IN_SILENCE, names.SPOKEN: False},
        place=target_service,
        transports=UDP,
        next_test=_ASK_IT,
    ),
    row(
        "silent-service",
        Verdict.SILENT_SERVICE,
        says("the service on {far} may just not answer what was sent"),
        {names.SILENT: True, names.FAR_REPORTS: False, names.DELIVERED: True, names.THIRD_REACHES: False},
        REACHES_HOST,
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
        {names.FORWARDED: True, names.ANSWERED: False},
        proof=proven_by((names.FORWARDED,)),
        place=behind_host,
        when={names.LISTENING: False},
        next_test=test("on {far}: nft list ruleset; look where {flow} is passed on to (containers, DNAT)"),
    ),
)

#: Does somebody take what gets through?
TAKEN = "taken"
#: Is it the host itself that answers, where it does not listen?
HANDED_ON = "handed-on"

_UNHEARD: Mapping[str, bool] = {names.ANSWERED: True, names.LISTENING: False}
#: As published ports of containers are: fine, and worth a word.
HANDERS_ON: tuple[Cause, ...] = (
    Cause(
        "handed-on/no",
        Verdict.REACHABLE,
        says("{far} passes nothing of it on"),
        {names.FORWARDED: False},
        question=HANDED_ON,
        transports=PORTS,
        when=_UNHEARD,
    ),
    Cause(
        "handed-on/yes",
        Verdict.TARGET_HOST_FORWARDS,
        says("{far} passes the port on to something behind it, which answers"),
        {names.FORWARDED: True},
        proven_by((names.FORWARDED,)),
        behind_host,
        question=HANDED_ON,
        transports=PORTS,
        when=_UNHEARD,
    ),
)

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

CAUSES: tuple[Cause, ...] = (*SERVICE, *TAKERS, *HANDERS_ON)

"""Causes: the flow is fine, our own agents are not there, or the prober's own host is in the way."""

from probemesh_shared.words import Verdict

from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.rows import NEVER_CAME as _NEVER_CAME
from probemesh_controller.pair.flow.rows import (
    PORTS,
    TCP,
    fill,
    pair,
    row,
    says,
    source_host,
    target_host,
    test,
)


def _errno_said(told: Told) -> str:
    return f"{pair(told)}: {fill('{near} itself has no way to {address}', told)}"


_GONE = {names.NEAR_GONE: True}
_ANSWERED = {
    names.ANSWERED: True,
    names.NEVER_COMPLETED: False,
    names.FORWARDED: False,
}

CAUSES: tuple[Cause, ...] = (
    row(
        "reachable",
        Verdict.REACHABLE,
        says("it gets through, and {far} answers"),
        {**_ANSWERED, names.STANDS_IN: False},
        proof=proven_by((names.ANSWERED,)),
    ),
    row(
        "reachable/translated",
        Verdict.REACHABLE,
        says("it gets through, by a box on the way that translates the address, and {far} answers"),
        {**_ANSWERED, names.DELIVERED: True, names.WITNESSED: True},
        proof=proven_by((names.ANSWERED, names.DELIVERED)),
        when={names.STANDS_IN: True},
    ),
    row(
        # its tables hold nothing of what it passes on: what never completed there says nothing
        "reachable/handed-on",
        Verdict.REACHABLE,
        says("it gets through, and what {far} passes it on to answers"),
        {names.ANSWERED: True, names.FORWARDED: True, names.STANDS_IN: False},
        proof=proven_by((names.ANSWERED, names.FORWARDED)),
        transports=PORTS,
        when={names.LISTENING: False},
    ),
    Cause(
        "agent-lost",
        Verdict.AGENT_LOST,
        lambda told: (
            f"{pair(told)}: our agent {told.view.near_name} cannot be reached, so nothing was measured from "
            "there; that says nothing about the network between the two"
        ),
        {names.NEAR_GONE: True},
        proven_by((names.NEAR_GONE,)),
        source_host,
        test("bring the agent on {near} back, then ask again"),
    ),
    Cause(
        "not-addressable",
        Verdict.NOT_ADDRESSABLE,
        says("{far} has no address by which {near} could dial it; that is no fault of the network"),
        {names.NO_ADDRESS: True, names.NEAR_GONE: False},
        proven_by((names.NO_ADDRESS,)),
        next_test=test("give {far} one: mesh-agent run --advertise ADDRESS"),
    ),
    row(
        # a router has no way to it, and nobody ever saw the far end under it
        "not-addressable/private",
        Verdict.NOT_ADDRESSABLE,
        says("{address} means {far} at its own site only; it has no other address that {near} could dial"),
        {names.REJECTED: True, names.ROUTE_CODE: True, names.OTHER_WORKS: False, names.BACK_WORKS: False},
        {names.SEEN_THERE: False, names.ONE_WAY: False, names.BOX_REJECTS: False},
        _NEVER_CAME,
        when={names.PRIVATE: True},
        next_test=test("give {far} an address that {near} can dial: mesh-agent run --advertise ADDRESS"),
    ),
    Cause(
        "vantage-impaired",
        Verdict.VANTAGE_IMPAIRED,
        says("{near} itself was too short of processor time or sockets to measure"),
        {names.IMPAIRED: True, names.NEAR_GONE: False, names.NO_ADDRESS: False},
        proven_by((names.IMPAIRED,)),
        source_host,
        test("see what keeps {near} busy, then ask again"),
    ),
    row(
        "source-output-filter/drop",
        Verdict.SOURCE_OUTPUT_FILTER,
        says("{near}'s own output filter drops it before it leaves the host"),
        {names.SILENT: True, names.NEAR_OUT_LOST: True, names.REPEAT_FAILED: True},
        _NEVER_CAME,
        proof=proven_by((names.SILENT, names.NEAR_OUT_LOST), (names.SILENT, names.REPEAT_FAILED)),
        place=source_host,
        transports=TCP,  # a datagram or ping that is dropped there fails as it is sent
        next_test=test("look at the output rules of {near} (nft list ruleset) for {flow}"),
    ),
    row(
        "source-output-filter/errno",
        Verdict.SOURCE_OUTPUT_FILTER,
        says("{near}'s own host does not let it out: sending fails with an error of its filter"),
        {names.SEND_FILTERED: True},
        proof=proven_by((names.SEND_FILTERED,)),
        place=source_host,
        next_test=test("look at the output rules of {near} (nft list ruleset) for {flow}"),
    ),
    row(
        "source-output-filter/reject",
        Verdict.SOURCE_OUTPUT_FILTER,
        says("{near}'s own output filter rejects it: the error comes from its own address"),
        {names.REJECTED_BY_SELF: True},
        proof=proven_by((names.REJECTED_BY_SELF,)),
        place=source_host,
        next_test=test("look at the output rules of {near} (nft list ruleset) for {flow}"),
    ),
    row(
        "source-output-filter/reset",
        Verdict.SOURCE_OUTPUT_FILTER,
        says("{near}'s own output filter resets it: nothing left the host"),
        {names.REFUSED: True, names.NEAR_OUT_LOST: True, names.REFUSED_SHORT: True},
        _NEVER_CAME,
        proof=proven_by((names.REFUSED, names.NEAR_OUT_LOST)),
        place=source_host,
        transports=TCP,
        next_test=test("look at the output rules of {near} (nft list ruleset) for {flow}"),
    ),
    row(
        # behind the counters: a drop at the egress hook of the device counts as sent
        "source-output-filter/egress",
        Verdict.SOURCE_OUTPUT_FILTER,
        says("it is dropped as it leaves {near}, behind the host's own counters"),
        {names.SILENT: True, names.NEAR_OUT_LOST: False, names.REPEAT_FAILED: True},
        {names.STOPS_AT_ONCE: True, names.ONE_WAY: False},
        _NEVER_CAME,
        proof=proven_by((names.SILENT, names.REPEAT_FAILED)),
        place=source_host,
        transports=TCP,
        next_test=test("on {near}: nft list hooks; tc filter show dev the interface that leads there"),
    ),
    row(
        "source-no-route",
        Verdict.SOURCE_NO_ROUTE,
        _errno_said,
        {names.NO_ROUTE: True},
        proof=proven_by((names.NO_ROUTE,)),
        place=source_host,
        next_test=test("on {near}: ip route get {address}"),
    ),
    row(
        "next-hop-dead",
        Verdict.NEXT_HOP_DEAD,
        says("the next hop does not answer at the link: {address} was asked for there in vain"),
        {names.LATE_UNREACHABLE: True, names.ASKED_HERE: False},
        proof=proven_by((names.LATE_UNREACHABLE,)),
        place=lambda told: told.signs[names.LATE_UNREACHABLE].place,
        next_test=test("see whether {address} is up and on that link"),
    ),
    row(
        "next-hop-dead/here",
        Verdict.NEXT_HOP_DEAD,
        says("{address} was asked for on {near}'s own link in vain"),
        {names.LATE_UNREACHABLE: True, names.ASKED_HERE: True, names.SEEN_THERE: True},
        proof=proven_by((names.LATE_UNREACHABLE, names.SEEN_THERE)),
        place=lambda told: told.signs[names.LATE_UNREACHABLE].place,
        when={names.ASKED_HERE: True},
        next_test=test("see whether {address} is up and on that link"),
    ),
    row(
        # its site and the prober's have the same private network
        "not-addressable/same-net",
        Verdict.NOT_ADDRESSABLE,
        says("{address} means {far} at its own site only, and {near}'s own link has that network too"),
        {names.LATE_UNREACHABLE: True, names.ASKED_HERE: True, names.SEEN_THERE: False},
        when={names.ASKED_HERE: True},
        next_test=test("give {far} an address that {near} can dial: mesh-agent run --advertise ADDRESS"),
    ),
)

#: Is it always the far end that answers?
OWNER = "owner"

OWNERS: tuple[Cause, ...] = (
    Cause(
        "owner/one",
        Verdict.REACHABLE,
        says("{address} is {far}'s alone"),
        {names.WITNESS_MIXED: False, names.STRANGER: False},
        question=OWNER,
        when={names.ANSWERED: True},
    ),
    Cause(
        "owner/two",
        Verdict.DUPLICATE_ADDRESS,
        says("{address} answers, but not always as {far}: two hosts have that address"),
        {names.WITNESS_MIXED: True, names.STRANGER: False},
        proven_by((names.WITNESS_MIXED,)),
        target_host,
        test("on the link of {far}: arping -D {address}"),
        question=OWNER,
        transports=TCP,
        when={names.ANSWERED: True},
    ),
    Cause(
        "owner/other",
        Verdict.DUPLICATE_ADDRESS,
        says("{address} is an address of {far}, and somebody else answers there: two hosts have it"),
        {names.WITNESS_MIXED: False, names.STRANGER: True},
        proven_by((names.STRANGER,)),
        target_host,
        test("on the link of {far}: arping -D {address}"),
        question=OWNER,
        transports=PORTS,
        when={names.ANSWERED: True},
    ),
)

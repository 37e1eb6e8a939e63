"""What a finding gains from traces and control probes that followed: place, mechanism, sets, and whether the
vantage point itself is sick. Each case is a run's results, written down."""

from dataclasses import replace

import pytest
from probemesh_controller.diagnosis import diagnose
from probemesh_controller.diagnosis.following import CAN_TRACE, follow_up
from probemesh_shared.model import (
    AgentInfo,
    Finding,
    HopAnswer,
    IcmpError,
    IcmpSpec,
    Measurement,
    MtuDetail,
    PortRange,
    Target,
    TargetResult,
    TcpSpec,
    TraceDetail,
    TraceHop,
    TraceSpec,
    Vantage,
)
from probemesh_shared.words import (
    AgentState,
    Confidence,
    FailureKind,
    Family,
    Kind,
    Origin,
    Outcome,
    PlaceKind,
    Stage,
    Transport,
    Verdict,
)

from tests.diagnosis.scenario import measurement

TARGET = Target("db:5432", "db", (PortRange(5432, 5432),))
ADDRESS = "192.0.2.7"
R1, R2, R3 = "10.0.1.1", "10.0.2.1", "10.0.3.1"


def ran_out(address: str) -> HopAnswer:
    return HopAnswer(address, 1.0, IcmpError(Family.IPV4, 11, 0, address), 64)


def said_no(address: str, after_ms: float) -> HopAnswer:
    return HopAnswer(address, after_ms, IcmpError(Family.IPV4, 3, 1, address), 64)


def trace(*hops: HopAnswer | str | None, transport=Transport.TCP, ended="silence", **more) -> Measurement:
    """Hops by the router's address, an answer, or None for a silent one."""
    made = []
    for number, one in enumerate(hops, 1):
        answer = ran_out(one) if isinstance(one, str) else one
        made.append(TraceHop(number, 2, (answer,) if answer is not None else ()))
    reached = bool(made) and any(a.address == ADDRESS and a.icmp is None for a in made[-1].answers)
    distance = len(made) if reached else None
    detail = TraceDetail(transport, tuple(made), reached, distance, ended=ended, **more)
    outcome = Outcome.OK if reached else Outcome.TIMEOUT
    port = None if transport is Transport.ICMP else 5432
    return Measurement(Kind.TRACE, 0, TARGET.text, ADDRESS, port, outcome, 1, detail=detail)


def ping(*hops: HopAnswer | str | None, **more) -> Measurement:
    return trace(*hops, transport=Transport.ICMP, **more)


def answered(how: str = "echo-reply") -> HopAnswer:
    return HopAnswer(ADDRESS, 2.0, how=how)


def control(outcome: Outcome, text: str = "mesh.example:7400") -> Measurement:
    return Measurement(Kind.TCP, 0, text, "198.51.100.1", 7400, outcome, 1)


def vantage(name: str, how: str, *after: Measurement) -> Vantage:
    row = measurement(f"{name} tcp {ADDRESS}:5432 {how}", TARGET)[1]
    failed = None if row.outcome is Outcome.OK else Kind.TCP
    return Vantage(name, name, row.outcome, failed, (row,), followed=after)


def found(*vantages: Vantage) -> tuple[Finding, ...]:
    return diagnose([TargetResult(TARGET, 1, vantages)])[0]


def one(*vantages: Vantage) -> Finding:
    (finding,) = found(*vantages)
    return finding


# --- where it is dropped ----------------------------------------------------------------------------------


def test_pings_that_go_on_place_a_drop_between_two_routers() -> None:
    finding = one(
        vantage("a", "silent", trace(R1, R2, None, None), ping(R1, R2, R3, answered())), vantage("b", "ok")
    )
    assert finding.verdict is Verdict.SOURCE_SELECTIVE and finding.alternatives == (Verdict.FORWARD_DROP,)
    assert finding.place is not None
    assert (finding.place.kind, finding.place.address, finding.place.hop) == (PlaceKind.BETWEEN, R2, 2)
    assert f"{R3}: dropped between the two" in finding.summary
    assert {"a/trace-tcp/192.0.2.7:5432", "a/trace-icmp/192.0.2.7"} <= {e.id for e in finding.evidence}


def test_another_vantage_point_that_passes_the_same_router_is_contrast_enough() -> None:
    finding = one(
        vantage("a", "silent", trace(R1, R2, None)),
        vantage("b", "ok", trace("10.0.9.1", R2, R3, answered("syn-ack"))),
    )
    assert finding.alternatives == (Verdict.FORWARD_DROP,) and "from b go on from there" in finding.summary


def test_the_last_router_before_the_target_leaves_the_set_of_three() -> None:
    finding = one(
        vantage("a", "silent", trace(R1, R2, None), ping(R1, R2, answered())),
        vantage("b", "silent", trace(R1, R2, None), ping(R1, R2, answered())),
    )
    assert finding.verdict is Verdict.SILENT_FOR_ALL
    assert set(finding.alternatives) == {
        Verdict.FORWARD_DROP,
        Verdict.RETURN_DROP,
        Verdict.TARGET_INPUT_DROP,
    }
    assert finding.place is not None and finding.place.hop == 2


def test_silence_of_every_kind_past_a_hop_cannot_be_told_apart() -> None:
    finding = one(vantage("a", "silent", trace(R1, None, None), ping(R1, None, None)))
    assert finding.place is not None and finding.place.address == R1
    assert {Verdict.BLACKHOLE, Verdict.FORWARD_DROP, Verdict.TARGET_DOWN} <= set(finding.alternatives)
    assert finding.confidence is Confidence.POSSIBLE


def test_silent_hops_alone_narrow_nothing() -> None:
    plain = one(vantage("a", "silent"), vantage("b", "silent"))
    finding = one(vantage("a", "silent", trace(R1, None)), vantage("b", "silent", trace("10.0.9.1", None)))
    assert finding.alternatives == plain.alternatives and finding.place is None
    assert "from a at 10.0.1.1 (hop 1), from b at 10.0.9.1 (hop 1)" in finding.summary


def test_a_trace_that_is_answered_after_all_makes_it_doubtful() -> None:
    finding = one(
        vantage("a", "silent", trace(R1, answered("syn-ack"))), vantage("b", "silent", trace(R1, None))
    )
    assert finding.confidence is Confidence.POSSIBLE
    assert any(not e.supports and e.id.startswith("a/trace") for e in finding.evidence)


# --- mechanisms that a trace shows ------------------------------------------------------------------------


def test_a_loop_is_certain_and_one_finding_whoever_says_that_hops_ran_out() -> None:
    rounds = (R1, R2, R3, R2, R3, R2, R3)
    findings = found(
        vantage("a", f"icmp:11/0@{R2}", trace(*rounds, ended="hops")),
        vantage("b", f"icmp:11/0@{R3}", trace(*rounds, ended="hops")),
    )
    (finding,) = findings
    assert (finding.verdict, finding.confidence) == (Verdict.ROUTING_LOOP, Confidence.CERTAIN)
    assert finding.scope.sources == ("a", "b") and finding.alternatives == ()


def test_a_router_that_waits_in_vain_has_a_dead_neighbour() -> None:
    way = (R1, R2, said_no(R2, 3050.0))
    finding = one(vantage("a", f"icmp:3/1@{R2}", trace(*way, ended="error")))
    assert (finding.verdict, finding.alternatives) == (Verdict.NEXT_HOP_DEAD, (Verdict.TARGET_DOWN,))
    at_once = one(vantage("a", f"icmp:3/1@{R2}", trace(R1, R2, said_no(R2, 2.0), ended="error")))
    assert at_once.verdict is Verdict.UNDETERMINED, "a route that says so at once is another thing"
    assert at_once.place is not None and (at_once.place.address, at_once.place.hop) == (R2, 2)


def test_a_reset_from_before_the_target_is_no_closed_port() -> None:
    way = trace(R1, R2, answered("reset"), ended="target", stand_in=R3)
    finding = one(vantage("a", "refused", way), vantage("b", "refused", way))
    assert (finding.verdict, finding.confidence) == (Verdict.FORWARD_RESET, Confidence.LIKELY)
    assert finding.place is not None and (finding.place.address, finding.place.hop) == (R2, 2)


def test_a_reset_from_the_target_s_own_distance_supports_a_closed_port() -> None:
    way = trace(R1, R2, answered("reset"), ended="target")
    finding = one(vantage("a", "refused", way), vantage("b", "refused"))
    assert finding.verdict is Verdict.NOT_LISTENING
    assert all(e.supports for e in finding.evidence)


# --- the vantage point itself -----------------------------------------------------------------------------


def test_who_hears_nobody_is_sick_and_blames_nobody() -> None:
    mute = (trace(None, None), ping(None, None), control(Outcome.TIMEOUT))
    finding = one(vantage("a", "silent", *mute), vantage("b", "ok"))
    assert (finding.verdict, finding.scope.sources) == (Verdict.VANTAGE_IMPAIRED, ("a",))
    assert finding.place is not None and finding.place.kind is PlaceKind.SOURCE_HOST


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.REFUSED])
def test_a_control_that_is_answered_clears_the_vantage_point(outcome: Outcome) -> None:
    finding = one(vantage("a", "silent", trace(None), control(outcome)), vantage("b", "ok"))
    assert finding.verdict is Verdict.SOURCE_SELECTIVE


def test_a_control_that_was_not_looked_at_says_nothing() -> None:
    finding = one(vantage("a", "silent", trace(None), control(Outcome.DENIED)), vantage("b", "ok"))
    assert finding.verdict is Verdict.SOURCE_SELECTIVE


def test_a_router_that_answers_shows_that_the_link_works() -> None:
    finding = one(vantage("a", "silent", trace(R1, None), control(Outcome.TIMEOUT)), vantage("b", "ok"))
    assert finding.verdict is Verdict.SOURCE_SELECTIVE


def test_who_got_no_processor_is_told_as_such() -> None:
    plain = vantage("a", "silent")
    (row,) = plain.measurements
    assert row.failure is not None
    starved = replace(
        row.failure, kind=FailureKind.AGENT_STARVED, stage=Stage.CONNECT, origin=Origin.AGENT, detail="waited"
    )
    void = replace(row, outcome=Outcome.VOID, failure=starved, samples=())
    (finding,) = found(
        replace(plain, outcome=Outcome.VOID, failed_at=None, measurements=(void,)), vantage("b", "ok")
    )
    assert (finding.verdict, finding.confidence) == (Verdict.VANTAGE_IMPAIRED, Confidence.CERTAIN)


# --- sizes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "detail", "verdict", "left"),
    [
        (ADDRESS, MtuDetail(1500, fragments_pass=True, black_hole=False), None, ()),
        (ADDRESS, MtuDetail(1400, 1401, 1400, R1, black_hole=False, fragments_pass=True), None, ()),
        (ADDRESS, MtuDetail(1400, 1401, black_hole=True, fragments_pass=True), "mtu-black-hole", ()),
        (
            ADDRESS,
            MtuDetail(1400, 1401, black_hole=True, fragments_pass=False),
            "undetermined",
            ("mtu-black-hole", "size-filter"),
        ),
        (
            "2001:db8::7",
            MtuDetail(1400, 1401, black_hole=True, fragments_pass=True),
            "undetermined",
            ("mtu-black-hole", "size-filter"),
        ),
        (ADDRESS, MtuDetail(1500, black_hole=False, fragments_pass=False), "fragment-drop", ()),
        (ADDRESS, MtuDetail(None), None, ()),
    ],
)
def test_what_sizes_say(address: str, detail: MtuDetail, verdict: str | None, left: tuple[str, ...]) -> None:
    row = Measurement(Kind.MTU, 0, "db", address, None, Outcome.OK, 1, detail=detail)
    told = found(Vantage("a", "a", Outcome.OK, None, (row,)))
    assert [(one.verdict.value, one.alternatives) for one in told] == ([(verdict, left)] if verdict else [])


# --- what is asked afterwards -----------------------------------------------------------------------------


def agent(name: str, *capabilities: str) -> AgentInfo:
    return AgentInfo(
        name, name, {}, AgentState.CONNECTED, addresses=("192.0.2.9",), capabilities=capabilities
    )


def asked(*vantages: Vantage, controller: tuple[str, int] | None = None):
    agents = [agent(one.agent, CAN_TRACE) for one in vantages]
    return follow_up([TargetResult(TARGET, 1, vantages)], agents, controller)


def test_a_few_who_fail_and_one_who_does_not_are_asked() -> None:
    asks = asked(*(vantage(f"a{n}", "silent") for n in range(6)), vantage("b", "ok"))
    tcp = [ask for ask in asks if isinstance(ask.spec, TraceSpec) and ask.spec.transport is Transport.TCP]
    assert [ask.agents for ask in tcp] == [("a0",), ("a1",), ("a2",), ("b",)]
    assert all(ask.target.addresses == (ADDRESS,) for ask in tcp)
    pings = [ask for ask in asks if isinstance(ask.spec, TraceSpec) and ask.spec.transport is None]
    assert [ask.agents for ask in pings] == [("a0",), ("a1",), ("a2",)]


def test_known_good_targets_are_the_controller_and_who_reaches_it() -> None:
    asks = asked(vantage("a", "silent"), vantage("b", "ok"), controller=("mesh.example", 7400))
    (tcp,) = [ask for ask in asks if isinstance(ask.spec, TcpSpec)]
    assert (tcp.agents, tcp.target.text) == (("a",), "mesh.example:7400")
    (icmp,) = [ask for ask in asks if isinstance(ask.spec, IcmpSpec)]
    assert (icmp.agents, icmp.target.agent) == (("a",), "b")
    loopback = asked(vantage("a", "silent"), controller=("127.0.0.1", 7400))
    assert not [ask for ask in loopback if isinstance(ask.spec, TcpSpec)]


def test_nothing_is_asked_where_nothing_failed_or_nobody_can() -> None:
    assert asked(vantage("a", "ok"), vantage("b", "ok")) == ()
    silent = vantage("a", "silent")
    assert follow_up([TargetResult(TARGET, 1, (silent,))], [agent("a")]) == (), "it knows no traces"
    row = replace(silent.measurements[0], address="127.0.0.9")
    assert asked(replace(silent, measurements=(row,))) == (), "loopback has no way"
    answered_wrongly = replace(silent, outcome=Outcome.TLS_FAILS)
    assert asked(answered_wrongly) == ()


def test_a_refusal_needs_no_control() -> None:
    asks = asked(vantage("a", "refused"), vantage("b", "ok"), controller=("mesh.example", 7400))
    assert asks and all(isinstance(ask.spec, TraceSpec) for ask in asks)

"""Results from events: complete or not, doubled, late, cut off, and at any moment of the run."""

from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.api import (
    PlannedVantage,
    RunEnded,
    RunEvent,
    RunMeasured,
    RunPlanned,
    RunRequest,
    RunVantageEnded,
)
from probemesh_controller.results import SELF, Assembly, assemble
from probemesh_shared.model import (
    Failure,
    IcmpSpec,
    LadderSpec,
    Measurement,
    PortRange,
    Spec,
    Target,
    TargetResult,
    TcpSpec,
    Vantage,
)
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome, Stage

WEB = Target("web:80", "web", (PortRange(80, 80),))
TWO = Target("web:80-81", "web", (PortRange(80, 81),))
PLAN = RunPlanned((PlannedVantage("zoe", "a-site"), PlannedVantage("amy", "b-site"), PlannedVantage("bob")))


def request(*specs: Spec, targets: tuple[Target, ...] = (WEB,)) -> RunRequest:
    return RunRequest("run", targets, specs or (LadderSpec(),), ("amy", "bob", "zoe"))


def row(
    outcome: Outcome = Outcome.OK, kind: Kind = Kind.TCP, port: int | None = 80, index: int = 0, at: int = 5
) -> Measurement:
    return Measurement(kind, index, "web:80", "192.0.2.7", port, outcome, at)


def said(agent: str, *rows: Measurement, spec: int = 0) -> RunMeasured:
    return RunMeasured(agent, spec, rows)


def over(agent: str, status: JobStatus = JobStatus.DONE, spec: int = 0, detail: str = "") -> RunVantageEnded:
    return RunVantageEnded(agent, spec, status, detail)


def of(results: tuple[TargetResult, ...], agent: str, index: int = 0) -> Vantage:
    (found,) = [one for one in results[index].vantages if one.agent == agent]
    return found


def test_what_no_honest_agent_says_is_left_out() -> None:
    odd = (row(kind=Kind.LADDER), row(index=7), row(index=-1))
    (result,) = assemble(request(), [PLAN, said("amy", *odd), RunEnded()])
    assert of((result,), "amy").measurements == ()


def test_self_first_then_by_site_and_name() -> None:
    with_self = RunPlanned((*PLAN.vantages, PlannedVantage(SELF)))
    (result,) = assemble(request(), [with_self])
    assert [one.agent for one in result.vantages] == [SELF, "zoe", "amy", "bob"]
    assert [one.site for one in result.vantages] == [None, "a-site", "b-site", None]


def test_every_agent_asked_is_there_before_anything_was_heard() -> None:
    (result,) = Assembly(request(), 7).results()
    assert result.started_ns == 7
    assert {(one.agent, one.outcome) for one in result.vantages} == {
        (name, Outcome.UNMEASURED) for name in ("amy", "bob", "zoe")
    }


def test_live_results_grow() -> None:
    assembly = Assembly(request())
    assembly.add(PLAN)
    assert of(assembly.results(), "amy").outcome is Outcome.UNMEASURED
    assembly.add(said("amy", row(Outcome.OK, Kind.DNS, None)))
    assert of(assembly.results(), "amy").outcome is Outcome.UNMEASURED
    assembly.add(said("amy", row()))
    assert of(assembly.results(), "amy").outcome is Outcome.OK
    assert of(assembly.results(), "amy").reason is None


def test_planned_out_is_called_so_with_its_reason() -> None:
    plan = RunPlanned((PlannedVantage("amy", "s", Outcome.AGENT_LOST, "not connected"),))
    found = of(assemble(request(), [plan, RunEnded()]), "amy")
    assert (found.outcome, found.reason, found.measurements) == (Outcome.AGENT_LOST, "not connected", ())


def test_silence_at_the_end_is_unmeasured_with_a_reason() -> None:
    found = of(assemble(request(), [PLAN, RunEnded()]), "amy")
    assert (found.outcome, found.reason) == (Outcome.UNMEASURED, "the run ended before it answered")


def test_each_way_to_end_without_a_word_has_its_name() -> None:
    wanted = {
        JobStatus.DONE: Outcome.UNMEASURED,
        JobStatus.EXPIRED: Outcome.UNMEASURED,
        JobStatus.CANCELLED: Outcome.CANCELLED,
        JobStatus.REJECTED: Outcome.UNMEASURED,
        JobStatus.FAILED: Outcome.UNMEASURED,
        JobStatus.LOST: Outcome.AGENT_LOST,
    }
    for status in JobStatus:
        found = of(assemble(request(), [PLAN, over("amy", status, detail="draining")]), "amy")
        assert found.outcome is wanted[status]
        assert found.reason is not None
        assert found.reason.endswith(": draining")


def test_cancelled_runs_say_so() -> None:
    assert of(assemble(request(), [PLAN, RunEnded(cancelled=True)]), "amy").outcome is Outcome.CANCELLED


def test_what_was_measured_before_the_agent_was_lost_is_kept() -> None:
    events: list[RunEvent] = [PLAN, said("amy", row(Outcome.REFUSED)), over("amy", JobStatus.LOST)]
    assert of(assemble(request(), events), "amy").outcome is Outcome.REFUSED
    events[1] = said("amy", row(Outcome.OK, Kind.ICMP, None))
    assert of(assemble(request(), events), "amy").outcome is Outcome.AGENT_LOST


def test_a_climb_whose_agent_was_lost_is_not_called_complete() -> None:
    events: list[RunEvent] = [PLAN, said("amy", row()), over("amy", JobStatus.LOST)]
    found = of(assemble(request(LadderSpec()), events), "amy")
    assert (found.outcome, len(found.measurements)) == (Outcome.AGENT_LOST, 1)
    assert of(assemble(request(TcpSpec()), events), "amy").outcome is Outcome.OK
    cut: list[RunEvent] = [PLAN, said("amy", row()), RunEnded()]
    assert of(assemble(request(LadderSpec()), cut), "amy").outcome is Outcome.UNMEASURED


def test_a_port_of_a_list_that_nobody_spoke_of_is_missing() -> None:
    events: list[RunEvent] = [PLAN, said("amy", row()), over("amy", JobStatus.EXPIRED)]
    found = of(assemble(request(TcpSpec(), targets=(TWO,)), events), "amy")
    assert found.outcome is Outcome.UNMEASURED
    assert found.reason == "1 of the 2 ports was not measured: the deadline came first"


def test_the_only_port_asked_for_is_not_one_of_the_ports() -> None:
    ping = row(Outcome.OK, Kind.ICMP, None)
    found = of(assemble(request(), [PLAN, said("amy", ping), over("amy", JobStatus.EXPIRED)]), "amy")
    assert (found.outcome, found.reason) == (Outcome.UNMEASURED, "the deadline came first")


def test_several_ports_that_nobody_spoke_of_are_counted() -> None:
    asked = request(TcpSpec(), targets=(Target("web:80-89", "web", (PortRange(80, 89),)),))
    found = of(assemble(asked, [PLAN, said("amy", row()), over("amy", JobStatus.EXPIRED)]), "amy")
    assert found.reason == "9 of the 10 ports were not measured: the deadline came first"


def test_a_rows_own_reason_tells_more_than_that_the_agent_said_nothing_else() -> None:
    failure = Failure(Stage.RESOLVE, FailureKind.NOT_ADDRESSABLE, Origin.AGENT, "there is no agent nobody")
    refused = Measurement(Kind.DNS, 0, "agent:nobody:80", None, 80, Outcome.UNMEASURED, 1, failure=failure)
    asked = request(targets=(Target("agent:nobody:80", "nobody", (PortRange(80, 80),), agent="nobody"),))
    ends: list[list[RunEvent]] = [[over("amy")], [RunEnded()], []]
    for ended in ends:
        found = of(assemble(asked, [PLAN, said("amy", refused), *ended]), "amy")
        assert (found.outcome, found.reason) == (Outcome.UNMEASURED, "there is no agent nobody")
    lost = of(assemble(asked, [PLAN, said("amy", refused), over("amy", JobStatus.LOST)]), "amy")
    assert lost.outcome is Outcome.AGENT_LOST


def test_a_spec_without_an_answer_is_missing() -> None:
    asked = request(IcmpSpec(), TcpSpec())
    ping = said("amy", row(Outcome.OK, Kind.ICMP, None))
    events: list[RunEvent] = [PLAN, ping, over("amy"), over("amy", JobStatus.LOST, spec=1)]
    assert of(assemble(asked, events), "amy").outcome is Outcome.AGENT_LOST
    events.append(said("amy", row(), spec=1))
    assert of(assemble(asked, events), "amy").outcome is Outcome.OK


def test_one_that_was_lost_and_came_back_is_not_lost() -> None:
    events: list[RunEvent] = [PLAN, over("amy", JobStatus.LOST), over("amy", JobStatus.EXPIRED)]
    assert of(assemble(request(), events), "amy").outcome is Outcome.UNMEASURED


def test_the_reason_of_what_could_not_be_measured_is_the_agents() -> None:
    failure = Failure(Stage.CONNECT, FailureKind.DENIED, Origin.AGENT, "loopback is denied here")
    denied = Measurement(Kind.TCP, 0, "web:80", "127.0.0.1", 80, Outcome.DENIED, 1, failure=failure)
    found = of(assemble(request(), [PLAN, said("amy", denied), over("amy")]), "amy")
    assert (found.outcome, found.failed_at, found.reason) == (
        Outcome.DENIED,
        Kind.TCP,
        "loopback is denied here",
    )


def test_the_target_itself_is_told_apart() -> None:
    failure = Failure(Stage.CONNECT, FailureKind.OWN_ADDRESS, Origin.AGENT, "own address")
    own = Measurement(Kind.TCP, 0, "web:80", "192.0.2.7", 80, Outcome.UNMEASURED, 1, failure=failure)
    found = of(assemble(request(), [PLAN, said("amy", own), over("amy")]), "amy")
    assert found.is_target
    assert found.reason == "the target's own end"


def test_rows_go_to_their_targets_and_strays_nowhere() -> None:
    asked = request(targets=(WEB, TWO))
    results = assemble(asked, [PLAN, said("amy", row(), row(index=1), row(index=2), row(index=-1))])
    assert [len(of(results, "amy", index).measurements) for index in (0, 1)] == [1, 1]


def test_rows_stand_in_the_order_of_the_climb() -> None:
    rows = (row(kind=Kind.HTTP), row(port=None, kind=Kind.ICMP), row(), row(port=None, kind=Kind.DNS))
    found = of(assemble(request(), [PLAN, said("amy", *rows)]), "amy")
    assert [one.kind for one in found.measurements] == [Kind.DNS, Kind.ICMP, Kind.TCP, Kind.HTTP]


EVENTS: list[RunEvent] = [
    PLAN,
    said("amy", row(Outcome.OK, Kind.DNS, None), row()),
    said("bob", row(Outcome.TIMEOUT)),
    over("amy"),
    over("bob"),
    over("zoe", JobStatus.LOST),
    RunEnded(),
]


@given(st.permutations(EVENTS), st.lists(st.sampled_from(EVENTS)))
def test_doubles_and_disorder_change_nothing(order: list[RunEvent], doubled: list[RunEvent]) -> None:
    assert assemble(request(), [*order, *doubled]) == assemble(request(), EVENTS)


@given(st.lists(st.sampled_from(EVENTS)))
def test_asking_in_between_changes_nothing(events: list[RunEvent]) -> None:
    asked, unasked = Assembly(request()), Assembly(request())
    for event in events:
        asked.add(event)
        asked.results()
        unasked.add(event)
    assert asked.results() == unasked.results()

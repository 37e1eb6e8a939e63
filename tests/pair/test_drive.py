"""What the driver does with agents that behave, that do not, and that go away."""

import asyncio

import pytest
from probemesh_controller.pair.case import INTERRUPTED, Asked, Limits, Round
from probemesh_controller.pair.drive import Driver, diagnose
from probemesh_shared.clock import VirtualClock
from probemesh_shared.errors import NotFound, Unreachable
from probemesh_shared.model import Failure, FlowSpec, Shot, TraceSpec, WatchDetail, WatchSpec
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import AgentState, FailureKind, Kind, Origin, Outcome, Stage, Transport

from tests.pair.fakes import DENIED, A, B, C, FakeMesh, info, rounds, row, seen_as, shots, step, through

ASKED = Asked("a", "b", Transport.TCP, 5432, 7001)
BOTH = Round((step(1), step(2, "b", "a", "10.1.0.2")))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def mesh(clock):
    return FakeMesh(clock)


def run(clock, mesh, *planned, asked=ASKED, **more):
    return through(clock, diagnose(mesh, asked, clock=clock, plan=rounds(*planned), **more))


async def test_both_ends_are_watched_before_anything_is_sent_and_given_back_after(clock, mesh):
    case = await run(clock, mesh, BOTH, BOTH)
    kinds = [type(request.specs[0]) for request in mesh.requests]
    assert kinds[:4] == [WatchSpec, WatchSpec, FlowSpec, FlowSpec]
    assert [end.armed.agent for end in case.ends] == ["nonce-a", "nonce-b"]
    assert [[look.agent for look in done.looks] for done in case.rounds] == [["a", "b"], ["a", "b"]]
    assert [done.looks[0].account.look for done in case.rounds] == [1, 2]
    assert sorted(mesh.given_back) == ["a", "b"] and mesh.under_way == 0


async def test_each_end_watches_its_own_port_for_the_other(clock, mesh):
    await run(clock, mesh, asked=Asked("a", "b", Transport.UDP, 5432, 7001, listen=True))
    a, b = mesh.armed["a"], mesh.armed["b"]
    ports = [(r.agents[0], r.targets[0].host, r.targets[0].ports[0].first) for r in mesh.requests]
    assert ports == [("a", "10.1.0.2", 7001), ("b", "203.0.113.2", 5432)]
    assert (a.peers, b.peers) == (("203.0.113.2",), ("10.1.0.2",))
    assert a.token != b.token and len(a.token) == 16
    assert {a.listen, a.surrogate, b.listen, b.surrogate} == {True}
    assert a.transport is Transport.UDP and a.mss % 2 == b.mss % 2 == 1


async def test_the_plan_knows_the_token_and_the_odd_mss_of_each_watch(clock, mesh):
    case = await run(clock, mesh)
    assert [(e.token, e.mss) for e in case.ends] == [
        (mesh.armed[e.name].token, mesh.armed[e.name].mss) for e in case.ends
    ]


async def test_ends_are_armed_at_once_and_steps_of_a_round_run_at_once(clock, mesh):
    case = await run(clock, mesh, BOTH)
    assert case.elapsed_s == pytest.approx(0.05 + 0.2 + 0.01)
    assert case.rounds[0].elapsed_ms == pytest.approx(210)


async def test_it_settles_before_it_looks(clock, mesh):
    case = await run(clock, mesh, Round(BOTH.steps, settle_ms=300))
    assert case.rounds[0].elapsed_ms == pytest.approx(510)


async def test_it_is_quiet_first_where_counters_need_it_and_what_was_quiet_counts(clock, mesh):
    case = await run(clock, mesh, Round(BOTH.steps, quiet_ms=1000), Round(BOTH.steps, quiet_ms=5))
    assert [done.elapsed_ms for done in case.rounds] == [pytest.approx(1220), pytest.approx(220)]
    assert [done.quiet_ms for done in case.rounds] == [pytest.approx(1000), pytest.approx(10)]
    assert mesh.quieted == ["a", "b"] * 2 and mesh.looked == {"a": 2, "b": 2}


async def test_steps_go_to_the_address_and_port_they_name(clock, mesh):
    await run(clock, mesh, BOTH)
    targets = [request.targets[0] for request in mesh.requests[2:4]]
    assert [(t.host, t.agent, t.ports[0].first) for t in targets] == [
        ("203.0.113.2", None, 5432),
        ("10.1.0.2", None, 5432),
    ]


async def test_an_account_that_does_not_come_is_missing_and_asked_for_again(clock, mesh):
    def looks(agent, number):
        if (agent, number) == ("b", 1):
            raise Unreachable("the link is slow")
        return WatchDetail(number)

    mesh.looks = looks
    case = await run(clock, mesh, BOTH, BOTH)
    assert case.problems == ("b: the link is slow",)
    assert [[look.agent for look in done.looks] for done in case.rounds] == [["a"], ["a", "b"]]


async def test_a_third_is_watched_from_the_round_that_needs_it(clock, mesh):
    case = await run(clock, mesh, BOTH, Round((step(3, "a", "c", "192.0.2.2"),), thirds=("c",)))
    assert "c" in mesh.armed and not mesh.armed["c"].listen
    third = case.end("c")
    assert third.armed is not None and third.addresses == ("192.0.2.2",)
    assert [look.agent for look in case.rounds[1].looks] == ["a", "b", "c"]
    assert sorted(mesh.given_back) == ["a", "b", "c"]


async def test_an_agent_without_the_kind_is_not_asked_and_the_case_says_why(clock, mesh):
    mesh.fleet = [A, info("b", "203.0.113.2", more=("kind:tcp",))]
    case = await run(clock, mesh, BOTH)
    assert case.end("b").armed is None
    assert case.end("b").why_not == "it runs 9.9, which knows no watch: upgrade it"
    forward, reverse = case.rounds[0].steps
    assert forward.rows and reverse.problem == "it runs 9.9, which knows no flow: upgrade it"
    assert [look.agent for look in case.rounds[0].looks] == ["a"]


async def test_a_watch_that_cannot_be_armed_is_a_word_in_the_case(clock, mesh):
    busy = Failure(Stage.CONNECT, FailureKind.LOCAL_RESOURCE, Origin.AGENT, "port 5432 is in use")
    mesh.watches = lambda agent: row(Kind.WATCH, None, busy, Outcome.LOCAL_RESOURCE)
    case = await run(clock, mesh, BOTH)
    assert [end.why_not for end in case.ends] == ["port 5432 is in use"] * 2
    assert case.rounds[0].looks == () and case.rounds[0].steps[0].rows


async def test_what_the_policy_denies_stands_in_its_row(clock, mesh):
    mesh.steps = lambda request: [row(Kind.FLOW, None, DENIED)]
    case = await run(clock, mesh, BOTH)
    assert case.rounds[0].steps[0].rows[0].failure.kind is FailureKind.DENIED
    assert case.rounds[0].steps[0].problem is None


async def test_a_rejected_step_says_why(clock, mesh):
    mesh.steps = lambda request: []
    mesh.end = lambda request: (JobStatus.REJECTED, "busy: too many jobs at once")
    case = await run(clock, mesh, BOTH)
    assert case.rounds[0].steps[0].problem == "the agent did not take the job: busy: too many jobs at once"


async def test_an_agent_that_goes_away_is_given_up_soon_and_never_asked_again(clock, mesh):
    def takes(request):
        if request.agents == ("b",):
            mesh.lose("b")
            return 25.0
        return 0.2

    mesh.takes_s = takes
    case = await run(clock, mesh, BOTH, BOTH)
    assert case.lost == ("b",)
    assert case.rounds[0].steps[1].problem == "it was lost"
    assert case.rounds[0].steps[0].rows and [look.agent for look in case.rounds[0].looks] == ["a"]
    assert case.rounds[1].steps[1].problem == "it was lost"
    assert case.elapsed_s < 2.0
    assert sum(request.agents == ("b",) for request in mesh.requests) == 2


async def test_an_agent_that_is_lost_before_it_began_is_no_exception(clock, mesh):
    mesh.fleet = [A, info("b", "203.0.113.2", state=AgentState.LOST)]
    case = await run(clock, mesh, BOTH)
    assert case.end("b").why_not == "it is not connected"
    assert case.rounds[0].steps[0].rows and case.rounds[0].steps[1].problem == "it is not connected"


async def test_where_nobody_is_there_nothing_is_tried(clock, mesh):
    mesh.fleet = [info("a", "10.1.0.2", state=AgentState.LOST), info("b", "1.1.1.1", state=AgentState.LOST)]
    case = await run(clock, mesh, BOTH)
    assert case.rounds == () and mesh.requests == []


async def test_an_end_that_nobody_knows(clock, mesh):
    with pytest.raises(NotFound) as raised:
        await run(clock, mesh, asked=Asked("a", "bb", Transport.TCP, 1, 1))
    assert "there is no agent bb" in str(raised.value)


async def test_a_mesh_that_goes_away_is_a_problem_of_the_step(clock, mesh):
    def gone(request):
        raise Unreachable("the controller is away")

    mesh.steps = gone
    case = await run(clock, mesh, BOTH)
    assert [done.problem for done in case.rounds[0].steps] == ["the controller is away"] * 2


async def test_a_fault_of_our_own_is_raised_and_nothing_stays_armed(clock, mesh):
    def fault(request):
        raise ZeroDivisionError

    mesh.steps = fault
    with pytest.raises(ZeroDivisionError):
        await run(clock, mesh, BOTH)
    assert sorted(mesh.given_back) == ["a", "b"] and mesh.under_way == 0


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.06, 0.255])
async def test_nothing_stays_armed_when_it_is_interrupted(clock, mesh, after_s):
    driver = Driver(mesh, ASKED, clock, plan=rounds(BOTH, BOTH))
    task = asyncio.ensure_future(driver.run())
    await clock.advance(after_s)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert sorted(mesh.given_back) == sorted(mesh.armed) and mesh.under_way == 0
    assert driver.case is None or not any(one.looks for one in driver.case.rounds)


async def test_what_was_done_before_an_interrupt_is_kept(clock, mesh):
    driver = Driver(mesh, ASKED, clock, plan=rounds(BOTH, BOTH))
    task = asyncio.ensure_future(driver.run())
    await clock.advance(0.4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    whole, *cut = driver.case.rounds
    assert whole.looks and all(one.steps and not one.looks for one in cut)


async def test_of_a_round_that_is_interrupted_the_steps_that_were_over_are_kept(clock, mesh):
    mesh.takes_s = lambda request: 500.0 if request.agents == ("b",) else 0.1
    driver = Driver(mesh, ASKED, clock, plan=rounds(BOTH))
    task = asyncio.ensure_future(driver.run())
    await clock.advance(2.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    (cut,) = driver.case.rounds
    assert [(bool(done.rows), done.problem) for done in cut.steps] == [(True, None), (False, INTERRUPTED)]
    assert driver.case.elapsed_s == 2.0 and sorted(mesh.given_back) == ["a", "b"]


async def test_the_time_limit_holds_even_where_a_step_does_not_end(clock, mesh):
    mesh.takes_s = lambda request: 500.0
    asked = Asked("a", "b", Transport.TCP, 5432, 7001, limits=Limits(seconds=8.0))
    case = await run(clock, mesh, BOTH, BOTH, asked=asked)
    assert case.elapsed_s <= 8.0
    assert case.rounds[0].steps[0].problem == "the time limit came first"
    assert case.problems == ("stopped after 7.5 s: the limit is 8 s",)
    assert sorted(mesh.given_back) == ["a", "b"]


async def test_no_round_is_begun_that_could_break_the_packet_limit(clock, mesh):
    asked = Asked("a", "b", Transport.TCP, 5432, 7001, limits=Limits(packets=40))
    case = await run(clock, mesh, BOTH, BOTH, asked=asked)
    assert len(case.rounds) == 1  # 24 packets, and 24 more would be 48
    assert case.problems == ("stopped after 24 packets: the next step could go beyond the limit of 40",)


async def test_a_step_is_given_no_more_time_than_it_can_need(clock, mesh):
    spec = FlowSpec(transport=Transport.UDP, shots=(Shot(at_ms=2000.0),), listen_ms=1000.0)
    await run(clock, mesh, Round((step(1, spec=spec),)), Round((step(2, spec=TraceSpec()),)))
    flow, trace = (r for r in mesh.requests if not isinstance(r.specs[0], WatchSpec))
    assert flow.deadline_s == pytest.approx(2.0 + 1.0 + 3.0 + 1.5)
    assert trace.deadline_s < 30.0


async def test_progress_is_told_before_each_round_and_at_the_end(clock, mesh):
    told = []
    await run(clock, mesh, BOTH, BOTH, on_progress=lambda case, now: told.append((len(case.rounds), now)))
    assert told == [(0, BOTH), (1, BOTH), (2, None)]


async def test_what_the_other_end_saw_becomes_an_address_to_dial(clock, mesh):
    mesh.fleet = [info("a", "192.168.1.5"), B, info("c", "192.168.1.5")]
    mesh.steps = lambda request: [seen_as("198.51.100.1", "nonce-b")]
    seen = []

    def plan(case):
        seen.append(case.end("a").addresses)
        return rounds(Round((step(1),)))(case)

    case = await through(clock, diagnose(mesh, ASKED, clock=clock, plan=plan))
    assert seen == [(), ("198.51.100.1",)]  # the one of its interface is another site's too
    assert case.end("a").reflexive == ("198.51.100.1",)


async def test_the_word_of_a_responder_that_is_not_ours_is_not_taken(clock, mesh):
    mesh.steps = lambda request: [seen_as("198.51.100.66", "nonce-evil")]
    case = await run(clock, mesh, Round((step(1),)))
    assert case.end("a").reflexive == ()


async def test_configured_addresses_are_the_only_ones(clock, mesh):
    mesh.fleet = [info("a", "10.9.9.9", more=(*A.capabilities, "advertised")), B, C]
    mesh.steps = lambda request: [seen_as("198.51.100.1", "nonce-b")]
    case = await run(clock, mesh, Round((step(1),)))
    assert case.end("a").addresses == ("10.9.9.9",)
    assert case.end("a").reflexive == ("198.51.100.1",)


async def test_a_row_of_nothing_leaves_no_trace(clock, mesh):
    mesh.steps = lambda request: [shots()]
    case = await run(clock, mesh, Round((step(1),)))
    assert case.end("a").reflexive == () and case.lost == () and case.problems == ()

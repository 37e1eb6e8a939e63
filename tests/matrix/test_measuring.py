"""A matrix measured now: few runs, responders that stand for their time, and no cell without a word."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.matrix.batches import batches, deadline_s
from probemesh_controller.matrix.cells import Matrix, counts, matrix_exit_code
from probemesh_shared.errors import Busy, Unreachable
from probemesh_shared.model import Failure, FlowSpec, IcmpSpec, TcpSpec, WatchDetail, WatchSpec
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import AgentState, FailureKind, Kind, Origin, Outcome, SlotState, Stage

from tests.matrix.simmesh import SimMesh, agent, by_cell, measuring, tasks
from tests.meshes.world import NOW_NS

THREE = (agent("a"), agent("b"), agent("c"))


async def measured(mesh, **more):
    work = measuring(mesh, **more)
    await work.run()
    return by_cell(work.seen())


async def test_all_is_well():
    mesh = SimMesh(THREE)
    seen = await measured(mesh)
    assert len(seen) == 12
    assert {one.state for one in seen.values()} == {SlotState.OK}
    assert {(one.rtt_ms, one.sent, one.lost, one.target_is_agent) for one in seen.values()} == {
        (1.0, 4, 0, True)
    }


async def test_a_full_mesh_is_one_run_for_each_kind_and_one_for_the_responders():
    mesh = SimMesh(THREE)
    await measured(mesh)
    icmp, watch, flow = (
        next(run for run in mesh.runs if isinstance(run.specs[0], kind))
        for kind in (IcmpSpec, WatchSpec, FlowSpec)
    )
    assert len(mesh.runs) == 3
    assert icmp.agents == flow.agents == ("a", "b", "c")
    assert [target.text for target in icmp.targets] == ["agent:a", "agent:b", "agent:c"]
    assert [target.text for target in flow.targets] == ["agent:a:40001", "agent:b:40002", "agent:c:40003"]
    assert flow.specs[0].token == watch.specs[0].token and len(watch.specs[0].token) == 16
    assert len({run.run_id for run in mesh.runs}) == 3
    assert mesh.standing == set()  # given back


async def test_what_is_lost_and_what_fails():
    mesh = SimMesh(
        THREE,
        answers={
            ("a", "b", Kind.ICMP): {"lost": 1},
            ("a", "c", Kind.ICMP): {"outcome": Outcome.TIMEOUT},
            ("b", "c", Kind.FLOW): {"outcome": Outcome.REFUSED},
            ("b", "a", Kind.ICMP): None,
        },
    )
    seen = await measured(mesh)
    lossy = seen["a>b icmp"]
    assert (lossy.state, lossy.loss_ratio, lossy.rtt_ms) == (SlotState.OK, 0.25, 1.0)
    silent = seen["a>c icmp"]
    assert (silent.state, silent.outcome, silent.lost, silent.rtt_ms) == (
        SlotState.TIMED_OUT,
        "timeout",
        4,
        None,
    )
    assert silent.reason
    assert (seen["b>c udp"].state, seen["b>c udp"].outcome) == (SlotState.FAILED, Outcome.REFUSED)
    assert (seen["b>a icmp"].state, seen["b>a icmp"].outcome) == (SlotState.MISSED, Outcome.UNMEASURED)


async def test_addresses_are_alternatives():
    dead, well = {"outcome": Outcome.TIMEOUT, "address": "10.0.0.1"}, {"address": "10.0.0.2"}
    mesh = SimMesh(THREE, answers={("a", "b", Kind.FLOW): [dead, well], ("b", "a", Kind.FLOW): [dead, dead]})
    seen = await measured(mesh)
    assert (seen["a>b udp"].state, seen["a>b udp"].address) == (SlotState.OK, "10.0.0.2")
    assert seen["b>a udp"].state is SlotState.TIMED_OUT


async def test_an_agent_that_is_gone_says_nothing_of_anybody():
    mesh = SimMesh((*THREE[:2], agent("c", AgentState.LOST)))
    seen = await measured(mesh)
    gone = [name for name, one in seen.items() if one.state is SlotState.AGENT_LOST]
    # what c was to measure, and what its responder was to answer; its host may well answer a ping
    assert gone == ["a>c udp", "b>c udp", "c>a icmp", "c>a udp", "c>b icmp", "c>b udp"]
    assert seen["a>c icmp"].state is SlotState.OK
    assert seen["a>c udp"].reason == "c does not answer: it is not connected"
    assert seen["c>a icmp"].reason == "it is not connected, last seen 9 s ago"


async def test_an_agent_that_is_lost_meanwhile_is_no_failure_of_the_others():
    mesh = SimMesh(
        THREE,
        answers={("a", "c", Kind.FLOW): {"outcome": Outcome.TIMEOUT}, ("b", "c", Kind.FLOW): {}},
        lost={"c"},
        dies={"c": JobStatus.LOST},
    )
    mesh.answers |= {("c", other, kind): None for other in "ab" for kind in (Kind.ICMP, Kind.FLOW)}
    seen = await measured(mesh)
    assert seen["a>c udp"].state is SlotState.AGENT_LOST
    assert "lost meanwhile" in seen["a>c udp"].reason
    assert seen["b>c udp"].state is SlotState.OK  # it had answered
    assert seen["c>a icmp"].state is SlotState.AGENT_LOST


@pytest.mark.parametrize(
    ("account", "state", "reason"),
    [
        (
            WatchDetail(problems=("no surrogate listeners: this host's policy allows none",)),
            SlotState.MISSED,
            "c does not answer: no surrogate listeners: this host's policy allows none",
        ),
        (
            Failure(Stage.CONNECT, FailureKind.DENIED, Origin.AGENT, "no watches here"),
            SlotState.DENIED,
            "no watches here",
        ),
        (
            Failure(Stage.CONNECT, FailureKind.LOCAL_RESOURCE, Origin.AGENT, "16 watches already"),
            SlotState.MISSED,
            "16 watches already",
        ),
        (None, SlotState.MISSED, "c opened no responder in time"),
    ],
    ids=["policy", "denied", "full", "silent"],
)  # fmt: skip
async def test_a_responder_that_is_not_to_be_had(account, state, reason):
    mesh = SimMesh(THREE, watches={"c": account})
    seen = await measured(mesh)
    assert {(seen[f"{one}>c udp"].state, seen[f"{one}>c udp"].reason) for one in "ab"} == {(state, reason)}
    assert seen["a>b udp"].state is seen["c>a udp"].state is SlotState.OK


async def test_an_agent_that_is_too_old_is_not_asked():
    mesh = SimMesh((*THREE[:2], agent("c", kinds=())))
    seen = await measured(mesh)
    (watch,) = [run for run in mesh.runs if isinstance(run.specs[0], WatchSpec)]
    assert watch.agents == ("a", "b")
    assert (seen["a>c udp"].state, seen["a>c udp"].outcome) == (SlotState.MISSED, Outcome.UNSUPPORTED)


async def test_nobody_opens_a_responder_where_none_is_asked_for():
    mesh = SimMesh(THREE)
    await measured(mesh, some=tasks(THREE, when='every = "1m"\nkinds = ["icmp", "udp/53", "tcp/22"]'))
    assert not any(isinstance(run.specs[0], WatchSpec | FlowSpec) for run in mesh.runs)


async def test_an_interrupt_keeps_what_was_seen_and_gives_back():
    mesh = SimMesh(THREE, hangs=True)
    work = measuring(mesh)
    task = asyncio.ensure_future(work.run())
    for _ in range(300):
        await asyncio.sleep(0)
    assert mesh.standing
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    seen = by_cell(work.seen())
    assert len(seen) == 12
    assert seen["a>b icmp"].state is SlotState.OK
    assert seen["c>a icmp"].outcome is Outcome.CANCELLED
    assert mesh.standing == set()


async def test_a_mesh_that_is_away_is_an_error():
    with pytest.raises(Unreachable):
        await measured(
            SimMesh(THREE, error=Unreachable("gone")),
            some=tasks(THREE, when='every = "1m"\nkinds = ["icmp"]'),
        )


@pytest.mark.parametrize("spec", [IcmpSpec, FlowSpec, WatchSpec])
async def test_a_part_that_could_not_begin_takes_nothing_with_it(spec):
    seen = await measured(SimMesh(THREE, error=Busy("too many runs"), fails=spec))
    hurt = "icmp" if spec is IcmpSpec else "udp"
    for cell, one in seen.items():
        assert one.state is (SlotState.MISSED if cell.endswith(hurt) else SlotState.OK)
        assert not cell.endswith(hurt) or "too many runs" in one.reason


def test_before_anything_was_begun_nothing_is_known():
    seen = measuring(SimMesh((agent("a"), agent("b", AgentState.LOST)))).seen()
    assert [(one.state, one.outcome) for one in seen if one.cell.source == "a"] == [
        (SlotState.MISSED, "cancelled")
    ] * 2
    assert {one.state for one in seen if one.cell.source == "b"} == {SlotState.AGENT_LOST}


async def test_progress_is_told():
    told = []
    await measured(SimMesh(THREE), on_progress=lambda said, cells: told.append((said, cells)))
    assert ("opening responders at 3 agents", 0) in told
    assert told[-1][1] == 12


# --- as few runs as there can be ---


@given(
    st.sets(
        st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda pair: pair[0] != pair[1]), min_size=1
    )
)
def test_runs_ask_for_every_cell_once_and_for_nothing_else(chosen):
    fleet = tuple(agent(f"a{number}") for number in range(7))
    pairs = ", ".join(f'["a{a}", "a{b}"]' for a, b in sorted(chosen))
    some = tasks(
        fleet, f'shape = "pairs"\npairs = [{pairs}]', 'every = "1m"\nkinds = ["icmp", "tcp/22", "tcp/23"]'
    )
    made = batches(some, lambda aim: aim.target, None)
    asked = []
    for batch in made:
        for agent_name in batch.agents:
            for place, target in enumerate(batch.targets):
                for_it = batch.tasks.get((agent_name, place), ())
                assert for_it or target.agent == agent_name  # to itself an agent sends nothing
                assert all(task.aim.target == target for task in for_it)
                asked += [task.aim.cell for task in for_it]
    assert sorted(asked) == sorted(task.aim.cell for task in some)
    assert {type(batch.spec) for batch in made} == {IcmpSpec, TcpSpec}


async def test_what_several_cells_ask_for_is_measured_once():
    """Two services of one host have one ping, and a URL may be spelled in two ways."""
    right = '["db:1", "db:443", "icmp:db", "https://db/"]'
    some = tasks(
        THREE, f'shape = "disjoint"\nleft = "all"\nright = {right}', 'every = "1m"\nkinds = ["icmp", "https"]'
    )
    mesh = SimMesh(THREE)
    seen = await measured(mesh, some=some)
    assert len(seen) == len(some) == 3 * 6
    assert {one.state for one in seen.values()} == {SlotState.OK}
    asked = sorted(target.text for run in mesh.runs for target in run.targets)
    assert asked == ["https://db/", "https://db:1/", "icmp:db"]


@pytest.mark.parametrize(
    ("mesh", "runs"),
    [
        ('shape = "full"\nagents = "all"', 1),
        ('shape = "hub"\nhubs = "a0"', 2),
        ('shape = "disjoint"\nleft = "a0,a1"\nright = "a2,a3"', 2),
        ('shape = "full"\nagents = "all"\nexclude = [["a0", "a1"]]', 2),
    ],
)
def test_how_many_runs(mesh, runs):
    fleet = tuple(agent(f"a{number}") for number in range(6))
    made = batches(tasks(fleet, mesh, 'every = "1m"\nkinds = ["icmp"]'), lambda aim: aim.target, None)
    assert len(made) == runs


def test_a_run_is_given_the_time_it_can_take():
    fleet = tuple(agent(f"a{number}") for number in range(40))
    (few,) = batches(tasks(fleet[:3], when='every = "1m"\nkinds = ["icmp"]'), lambda aim: aim.target, None)
    (many,) = batches(
        tasks(fleet, when='every = "1m"\nkinds = ["icmp"]\ncount = 10\ntimeout = "5s"'),
        lambda aim: aim.target,
        None,
    )
    assert deadline_s(few) == 15.0
    assert deadline_s(many) == pytest.approx(2 * (9 * 0.2 + 5.0) + 5.0)


# --- what is made of it ---


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ({}, 0),
        ({("a", "b", Kind.ICMP): {"outcome": Outcome.TIMEOUT}}, 3),
        ({("a", "b", Kind.ICMP): None}, 3),
        ({("a", "b", Kind.ICMP): {"outcome": Outcome.TIMEOUT}, ("b", "a", Kind.ICMP): None}, 1),
        ({("a", "b", Kind.ICMP): None, ("b", "a", Kind.ICMP): None}, 4),
    ],
)
async def test_the_exit_code(answers, code):
    work = measuring(
        SimMesh(THREE[:2], answers=answers), tasks(THREE[:2], when='every = "1m"\nkinds = ["icmp"]')
    )
    await work.run()
    matrix = Matrix(work.seen(), NOW_NS)
    assert matrix_exit_code(matrix) == code
    assert counts(matrix).total == 2
    assert matrix_exit_code(Matrix(work.seen(), NOW_NS, interrupted=True)) == 130

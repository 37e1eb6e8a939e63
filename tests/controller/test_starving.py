"""One operator who asks for all that there is leaves the others what is theirs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from probemesh_controller.api import RunPlanned, RunRequest
from probemesh_controller.fleet import JOBS_OF_ONE_OPERATOR
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.runs import MAX_ACTIVE, RUNS_OF_ONE
from probemesh_shared.audit.query import AuditQuery
from probemesh_shared.errors import Busy, InvalidRequest
from probemesh_shared.model import Job, PortRange, Target, TcpSpec
from probemesh_shared.session.frames import JOBS_OF_ONE_OWNER
from probemesh_shared.words import AuditOutcome

from tests.controller.conftest import Bench
from tests.controller.test_served import Served, client, connected, served

__all__ = ["client", "served"]

ALICE, BOB = "operator/alice", "operator/bob"


async def never(agent: Any, job: Job) -> None:
    pass


@pytest.fixture
async def busy(bench: Bench) -> AsyncIterator[Bench]:
    await bench.agent("berlin", work=never)
    yield bench


def asked(bench: Bench, number: int, owner: str = ALICE, deadline_s: float = 60.0) -> RunRequest:
    """Each has a target of its own: to one of all they would wait for what others leave of its limit."""
    host = f"{owner.removeprefix('operator/')}-{number}"
    wanted = (Target(f"{host}:1", host, (PortRange(1, 1),)),)
    return bench.request("berlin", run_id=host, wanted=wanted, deadline_s=deadline_s)


async def start(bench: Bench, count: int, owner: str = ALICE, first: int = 0) -> list[Any]:
    """All in the same instant: run or refusal of each."""
    requests = [asked(bench, first + number, owner) for number in range(count)]
    return await asyncio.gather(
        *(bench.engine.runs.start(request, owner) for request in requests), return_exceptions=True
    )


async def settled(bench: Bench) -> None:
    """Dozens of jobs over one link take many turns of the loop."""
    for _ in range(20):
        await bench.clock.settle()


async def test_who_has_all_that_one_may_is_refused_and_nobody_else(busy: Bench) -> None:
    begun = await start(busy, MAX_ACTIVE)
    refused = [one for one in begun if isinstance(one, BaseException)]
    assert len(begun) - len(refused) == RUNS_OF_ONE, "whatever is asked for in one instant"
    assert {(type(one), str(one)) for one in refused} == {
        (Busy, "64 of one operator's runs may be under way at once, and no more")
    }
    assert busy.engine.runs.active == RUNS_OF_ONE
    assert not [one for one in await start(busy, 9, BOB) if isinstance(one, BaseException)]
    begun[0].cancel("enough")
    await busy.clock.advance(3)
    (again,) = await start(busy, 1, first=MAX_ACTIVE)
    assert not isinstance(again, BaseException), "once one has ended"


async def test_the_owner_of_the_mesh_says_how_many(busy: Bench) -> None:
    most = 2
    busy.engine.runs.limited_by(lambda: most, busy.engine.runs._ledger.budget_of)
    assert sum(isinstance(one, Busy) for one in await start(busy, 5)) == 3
    most = 4
    assert sum(isinstance(one, Busy) for one in await start(busy, 5, first=5)) == 3


async def test_one_id_begins_once_also_in_one_instant(busy: Bench) -> None:
    twice = [busy.engine.runs.start(asked(busy, 1), ALICE) for _ in range(2)]
    begun = await asyncio.gather(*twice, return_exceptions=True)
    assert [isinstance(one, InvalidRequest) for one in begun] == [False, True]


async def test_of_an_agents_places_some_are_left_for_others(busy: Bench) -> None:
    agent = busy.agents["berlin"]
    await start(busy, JOBS_OF_ONE_OWNER)
    await settled(busy)
    assert len(agent.jobs) == JOBS_OF_ONE_OPERATOR
    await start(busy, 1, BOB)
    await settled(busy)
    assert [job.asked_by for job in agent.jobs] == [ALICE] * JOBS_OF_ONE_OPERATOR + [BOB]
    agent.end(agent.jobs[0])
    await settled(busy)
    assert [job.asked_by for job in agent.jobs[JOBS_OF_ONE_OPERATOR:]] == [BOB, ALICE], "the next of hers"


async def test_the_refusal_is_one_line_and_on_the_record(served: Served, client: RemoteMesh) -> None:
    (served.state / "limits.toml").write_text("[runs]\nat-once = 1\n")
    state = await served.join(client, "berlin")
    await served.run_agent("berlin", state)
    await connected(client, "berlin")
    wanted = (Target("192.0.2.1:1", "192.0.2.1", (PortRange(1, 1),)),)

    def request(run_id: str) -> RunRequest:
        return RunRequest(run_id, wanted, (TcpSpec(),), ("berlin",), 30.0)

    first = client.run(request("first"))
    assert isinstance(await anext(first), RunPlanned)
    with pytest.raises(Busy, match=r"^1 of one operator's runs may be under way at once, and no more$"):
        await anext(client.run(request("second")))
    await first.aclose()
    (record,) = (await client.audit(AuditQuery(run="second"))).records
    assert (record.event, record.outcome) == ("run", AuditOutcome.REJECTED)
    assert record.who == "admin/admin" and "at once, and no more" in record.detail

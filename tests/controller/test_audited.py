"""What the controller records, and who may read it: a real one, over the network."""

import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from probemesh_agent.auditlog import audit_path
from probemesh_controller.api import RunRequest, TokenRequest
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.store.port import AgentRecord
from probemesh_shared.audit.query import AuditQuery
from probemesh_shared.audit.record import AuditRecord, counted
from probemesh_shared.audit.search import search
from probemesh_shared.errors import InvalidRequest, NotAllowed, NotFound
from probemesh_shared.identity.files import load_identity
from probemesh_shared.identity.request import request_in_child
from probemesh_shared.identity.token import decode_token
from probemesh_shared.model import Job, LadderSpec, TcpSpec
from probemesh_shared.rpc.enrolling import enrol
from probemesh_shared.targets import parse_target
from probemesh_shared.words import AuditOutcome, Outcome, Role

from tests.controller.conftest import Bench, FakeAgent, tcp_row
from tests.controller.test_served import Served, client, connected, served

__all__ = ["client", "served"]


async def events(mesh: RemoteMesh, **query: str) -> list[tuple[str, AuditOutcome]]:
    found = await mesh.audit(AuditQuery(**query))  # type: ignore[arg-type]
    return [(record.event, record.outcome) for record in found.records]


async def one(mesh: RemoteMesh, event: str) -> AuditRecord:
    (record,) = (await mesh.audit(AuditQuery(event=event))).records
    return record


async def test_every_call_to_a_controller_is_on_its_record(served: Served, client: RemoteMesh) -> None:
    await client.status()
    with pytest.raises(NotFound):
        await client.revoke_agent("nobody")
    with pytest.raises(InvalidRequest):
        await client.create_token(TokenRequest(uses=0))
    told = await events(client)
    assert told == [
        ("start", AuditOutcome.OK),
        ("status", AuditOutcome.OK),
        ("revoke-agent", AuditOutcome.REJECTED),
        ("create-token", AuditOutcome.REJECTED),
    ]
    assert (await events(client))[-1] == ("audit", AuditOutcome.OK), "reading it is recorded too"
    assert (await one(client, "revoke-agent")).agent == "nobody"
    admin = load_identity(served.state / "operator")
    record = await one(client, "status")
    assert (record.who, record.certificate) == (f"admin/{admin.name}", admin.serial)
    assert record.address.startswith("127.0.0.1:")
    file = served.state / "controller" / "audit.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600


async def test_tokens_enrolments_and_revocations_can_be_followed(served: Served, client: RemoteMesh) -> None:
    request = TokenRequest(name="berlin-1", site="lab", labels={"role": "db"})
    issued = await client.create_token(request)
    joined = await enrol(served.address, decode_token(issued.token), await request_in_child())
    with pytest.raises(NotAllowed):
        await enrol(served.address, decode_token(issued.token), await request_in_child())
    await client.label_agent("berlin-1", {"rack": "7"}, ("role",), "fra")
    await client.revoke_agent("berlin-1")
    made = await one(client, "create-token")
    assert len(made.token) == 16
    assert made.detail == "role=agent name=berlin-1 site=lab labels=role=db uses=1 ttl_s=3600"
    first, second = (await client.audit(AuditQuery(event="enrol"))).records
    assert (first.outcome, first.agent, first.token) == (AuditOutcome.OK, "berlin-1", made.token)
    assert (first.who, joined.serial in first.detail) == (f"join/{made.token}", True)
    assert (second.outcome, second.detail) == (AuditOutcome.REFUSED, "this token has been used already")
    labelled = await one(client, "label-agent")
    assert (labelled.agent, labelled.detail) == ("berlin-1", "rack=7 role- site=fra")
    assert [record.event for record in (await client.audit(AuditQuery(agent="berlin-1"))).records] == [
        *("enrol", "label-agent", "revoke-agent"),
    ]
    written = (served.state / "controller" / "audit.jsonl").read_text()
    assert issued.token not in written
    assert decode_token(issued.token).secret_text not in written


async def test_the_record_goes_on_after_a_restart(served: Served, client: RemoteMesh) -> None:
    await client.status()
    await served.end()
    await served.start()
    again = served.client()
    told = await events(again)
    await again.aclose()
    assert [event for event, _ in told] == ["start", "status", "stop", "start"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_administrators_read_it(served: Served, client: RemoteMesh, role: Role) -> None:
    issued = await client.create_token(TokenRequest(role, "eve"))
    eve = await enrol(served.address, decode_token(issued.token), await request_in_child())
    other = RemoteMesh(served.address, eve)
    with pytest.raises(NotAllowed, match="read the audit"):
        await other.audit(AuditQuery())
    await other.aclose()
    assert await events(client, who="eve") == [("audit", AuditOutcome.REFUSED)]


async def test_more_records_than_one_message_can_hold(served: Served, client: RemoteMesh) -> None:
    for number in range(150):
        targets = tuple(parse_target(f"host-{number}-{each}.example:1") for each in range(400))
        request = RunRequest(f"run-{number}", targets, (TcpSpec(),), ("nobody",), 1.0)
        async for _ in client.run(request):
            pass
    found = await client.audit(AuditQuery(event="run-started"))
    assert [record.run for record in found.records] == [f"run-{number}" for number in range(150)]
    assert sum(len(text) for record in found.records for text in record.targets) > 1 << 20
    assert {len(record.targets) + record.omitted for record in found.records} == {400}
    few = await client.audit(AuditQuery(event="run-started", limit=5))
    assert (few.records, few.more) == (found.records[-5:], True)


async def test_a_query_that_cannot_be_is_refused(served: Served, client: RemoteMesh) -> None:
    with pytest.raises(InvalidRequest):
        await client.audit(AuditQuery(who="x" * 20_000))
    with pytest.raises(InvalidRequest):
        await client.audit(AuditQuery(limit=-1))


async def test_who_keeps_no_record_says_so(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match="kept by a controller"):
        await bench.engine.audit(AuditQuery())


async def test_a_denied_target_is_on_both_records_and_nothing_goes_out(
    served: Served, client: RemoteMesh
) -> None:
    """T1: an operator asks for what a host's owner forbids."""
    state = await served.join(client, "berlin-1")
    (state / "policy.toml").write_text("[allow]\n")
    agent = await served.run_agent("berlin-1", state, "--policy", str(state / "policy.toml"))
    await connected(client, "berlin-1")
    with socket.create_server(("127.0.0.1", 0)) as victim:
        victim.setblocking(False)
        target = parse_target(f"127.0.0.1:{victim.getsockname()[1]}")
        async for _ in client.run(RunRequest("evil", (target,), (TcpSpec(),), ("berlin-1",), 5.0)):
            pass
        with pytest.raises(BlockingIOError):
            victim.accept()
    agent.terminate()
    await agent.wait()
    begun, ended = (await client.audit(AuditQuery(run="evil", event="run-*"))).records
    assert (begun.who, begun.targets, begun.agents) == ("admin/admin", (target.text,), ("berlin-1",))
    assert (ended.outcome, ended.counts) == (AuditOutcome.DENIED, counted({"denied": 1}))
    accepted, refused = search(audit_path(state), AuditQuery(run="evil")).records
    assert (accepted.targets, accepted.asked_by) == ((target.text,), "admin/admin")
    assert (refused.outcome, refused.counts) == (AuditOutcome.DENIED, ended.counts)


# --- runs, in virtual time --------------------------------------------------------------------------------


@pytest.fixture
async def told(bench: Bench) -> AsyncIterator[list[AuditRecord]]:
    records: list[AuditRecord] = []
    bench.engine.runs._audit = records.append
    return records


async def test_a_run_is_recorded_when_it_begins_and_when_it_ends(bench: Bench, told) -> None:
    await bench.agent("berlin-1", work=answer_later)
    request = bench.request("berlin-1", "lost-1", targets=2, specs=(TcpSpec(), LadderSpec()))
    _, running = bench.collect(request)
    await bench.clock.settle()
    (begun,) = told
    assert (begun.event, begun.outcome, begun.who) == ("run-started", AuditOutcome.STARTED, "local")
    assert (begun.run, begun.kinds) == ("run1", ("tcp", "ladder"))
    assert (begun.agents, begun.targets) == (("berlin-1", "lost-1"), ("db0:5432", "db1:5432"))
    await bench.clock.advance(1.0)
    await running
    ended = told[1]
    assert (ended.event, ended.outcome, ended.run) == ("run-ended", AuditOutcome.OK, "run1")
    assert ended.counts == counted({"ok": 4})
    assert len(told) == 2


async def answer_later(agent: FakeAgent, job: Job) -> None:
    await agent.clock.sleep(0.5)
    await agent.answer(job)


async def deny(agent: FakeAgent, job: Job) -> None:
    row = replace(tcp_row(0, job.targets[0].text), outcome=Outcome.DENIED, samples=())
    agent.add(job, [row])
    agent.end(job)


async def test_a_run_of_which_policy_let_nothing_through_is_denied(bench: Bench, told) -> None:
    await bench.agent("berlin-1", work=deny)
    _, running = bench.collect(bench.request("berlin-1"))
    await bench.clock.settle()
    await running
    assert (told[1].outcome, told[1].counts) == (AuditOutcome.DENIED, counted({"denied": 1}))


async def test_a_run_that_is_cancelled_says_why(bench: Bench, told) -> None:
    await bench.agent("berlin-1", work=answer_later)
    events = bench.engine.run(bench.request("berlin-1"))
    await anext(events)
    await events.aclose()
    await bench.clock.advance(2.0)
    assert (told[1].outcome, told[1].detail) == (AuditOutcome.CANCELLED, "the caller went away")


async def test_what_a_url_asks_for_is_kept_out(bench: Bench, told) -> None:
    await bench.agent("berlin-1")
    target = parse_target("https://shop.example/login?token=hunter2")
    _, running = bench.collect(bench.request("berlin-1", wanted=(target,)))
    await bench.clock.settle()
    await running
    assert told[0].targets == ("https://shop.example/login?…",)


async def test_agents_are_told_who_asked(bench: Bench) -> None:
    agent = await bench.agent("berlin-1")
    await bench.engine.runs.start(bench.request("berlin-1"), "operator/alice")
    await bench.clock.settle()
    _, running = bench.collect(bench.request("berlin-1", run_id="run2"))
    await bench.clock.settle()
    await running
    assert [job.asked_by for job in agent.jobs] == ["operator/alice", ""]


async def test_an_ephemeral_agent_that_is_forgotten_is_told(bench: Bench) -> None:
    forgotten: list[str] = []
    bench.engine.fleet.forgotten = lambda record: forgotten.append(record.name)
    bench.store.put_agent(AgentRecord("id-pod", "pod-1", ephemeral=True, created_ns=bench.clock.wall_ns()))
    bench.store.put_agent(AgentRecord("id-host", "host-1", created_ns=bench.clock.wall_ns()))
    await bench.engine.fleet.sweep()
    assert forgotten == []
    await bench.clock.advance(601.0)
    await bench.engine.fleet.sweep()
    assert forgotten == ["pod-1"]

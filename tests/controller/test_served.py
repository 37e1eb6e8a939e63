"""The controller as it is run: real certificates, real gRPC, real agent programs, ports chosen by the
kernel."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from probemesh.v1 import mesh_pb2
from probemesh.v1.mesh_pb2_grpc import MeshStub
from probemesh_controller import config
from probemesh_controller.api import (
    RunEnded,
    RunEvent,
    RunMeasured,
    RunPlanned,
    RunRequest,
    RunVantageEnded,
    TokenRequest,
)
from probemesh_controller.local import local_mesh
from probemesh_controller.pki.mesh import init_mesh
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.serve import reached_by, serve
from probemesh_controller.store.port import AgentRecord
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.audit.query import AuditQuery
from probemesh_shared.errors import CertificateRefused, InvalidRequest, NotFound, StateError, Unreachable
from probemesh_shared.identity.files import load_identity
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.model import IcmpSpec, Narrowing, Options, PortRange, Target, TcpSpec
from probemesh_shared.rpc.client import connect
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.targets import parse_target
from probemesh_shared.words import AgentState, AuditOutcome, Outcome

from tests.addresses import COMES_BACK

POLICY = "schema = 1\nallow_loopback = true\n"


@dataclass
class Served:
    """One controller in this process, and programs of agents beside it."""

    state: Path
    address: str = ""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    programs: dict[str, Process] = field(default_factory=dict)
    hangups: list[Callable[[], None]] = field(default_factory=list)

    async def start(self, listen: str = f"{COMES_BACK}:0") -> None:
        self.stop = asyncio.Event()
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(
            serve(
                self.state,
                listen,
                None,
                on_ready=ready.set_result,
                stop=self.stop,
                on_hangup=self.hangups.append,
            )
        )
        await asyncio.wait({self.task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            self.task.result()
        self.address = ready.result()

    async def end(self) -> None:
        if self.task is not None:
            self.stop.set()
            await self.task
            self.task = None

    def client(self) -> RemoteMesh:
        return RemoteMesh(self.address, load_identity(self.state / "operator"))

    async def join(self, client: RemoteMesh, name: str, narrow: Narrowing | None = None) -> Path:
        """A host with a certificate of its own; returns its state."""
        folder = self.state / "agents" / name
        token = await client.create_token(TokenRequest(name=name, site="lab", narrow=narrow))
        token_file = self.state / f"{name}.token"
        token_file.touch(0o600)
        token_file.write_text(token.token)
        await program("join", token.controller, "--token-file", str(token_file), "--state", str(folder))
        return folder

    async def run_agent(self, name: str, folder: Path, *more: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "probemesh_agent", "run", "--state", str(folder), *more),
            stderr=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        self.programs[name] = process
        return process

    async def close(self) -> None:
        for process in self.programs.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await self.end()


async def program(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "probemesh_agent", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 (another process; there is no event to wait for)
            await asyncio.sleep(0.05)


async def connected(client: RemoteMesh, *names: str) -> None:
    async def all_there() -> bool:
        there = {a.name for a in await client.agents() if a.state is AgentState.CONNECTED}
        return there >= set(names)

    await until(all_there)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    await asyncio.to_thread(init_mesh, tmp_path / "state", "lab")
    made = Served(tmp_path / "state")
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def client(served: Served) -> AsyncIterator[RemoteMesh]:
    made = served.client()
    yield made
    await made.aclose()


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A TCP service on loopback; its port."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(64)
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def request(
    agents: tuple[str, ...], target: Target, run_id: str = "r1", deadline_s: float = 10.0
) -> RunRequest:
    spec = TcpSpec(Options(count=2, interval_s=0.05, timeout_s=1.0))
    return RunRequest(run_id, (target,), (spec,), agents, deadline_s)


async def collect(client: RemoteMesh, asked: RunRequest) -> list[RunEvent]:
    return [event async for event in client.run(asked)]


async def test_status_and_context_and_address(served: Served, client: RemoteMesh) -> None:
    status = await client.status()
    assert (status.mesh, status.agents_known, status.peer_name) == ("lab", 0, "admin")
    settings = config.load(served.state / "config.toml")
    (context,) = settings.contexts.values()
    assert context.controller == served.address and context.identity == served.state / "operator"


async def test_a_thousand_agents_are_listed(served: Served, client: RemoteMesh) -> None:
    """Each with a word for every counter of its kernel: several times what one message may hold."""
    words = tuple(f"kernel.counter.{number:03}" for number in range(200))
    store = SqliteStore(served.state / "controller" / "store.sqlite")
    with store.group():
        for number in range(1000):
            store.put_agent(AgentRecord(f"id-{number}", f"a-{number:04}", created_ns=1, capabilities=words))
    store.close()
    agents = await client.agents()
    assert [agent.name for agent in agents] == [f"a-{number:04}" for number in range(1000)]
    assert {agent.capabilities for agent in agents} == {words}
    assert (await client.status()).agents_known == 1000


async def test_a_second_controller_on_the_same_state_is_refused(served: Served) -> None:
    with pytest.raises(StateError, match="another controller"):
        await serve(served.state, "127.0.0.1:0", None, on_ready=lambda address: None, stop=asyncio.Event())


async def test_a_folder_without_a_mesh_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no mesh"):
        await serve(tmp_path, "127.0.0.1:0", None, on_ready=lambda a: None, stop=asyncio.Event())


async def test_token_and_limits_narrow_what_an_agent_may_be_asked(
    served: Served, client: RemoteMesh, echo: int
) -> None:
    """Behind the agent's own policy, which here allows everything on loopback."""
    narrow = Narrowing(ports=(PortRange(1, echo),))
    folder = await served.join(client, "berlin", narrow)
    policy = folder / "policy.toml"
    policy.write_text("[allow]\nloopback = true\n")
    await served.run_agent("berlin", folder, "--policy", str(policy))
    await connected(client, "berlin")

    async def outcomes(run_id: str, *ports: int) -> list[Outcome]:
        asked = request(("berlin",), parse_target(f"127.0.0.1:{','.join(map(str, ports))}"), run_id)
        events = await collect(client, asked)
        rows = [row for e in events if isinstance(e, RunMeasured) for row in e.measurements]
        return [row.outcome for row in sorted(rows, key=lambda row: row.port or 0)]

    assert await outcomes("r1", echo, echo + 1) == [Outcome.OK, Outcome.DENIED]
    (agent,) = await client.agents()
    assert [one.ports for one in agent.narrow] == [narrow.ports]

    limits = served.state / "limits.toml"
    limits.write_text('[[limit]]\nfor = "site=lab"\nnetworks = ["10.0.0.0/8"]\n')
    (hangup,) = served.hangups
    hangup()
    assert await outcomes("r2", echo) == [Outcome.DENIED]
    (agent,) = await client.agents()
    assert [one.source for one in agent.narrow] == [
        "the token that it joined with",
        "limits.toml (site=lab)",
    ]
    both = [record.outcome for record in (await client.audit(AuditQuery(run="r2"))).records]
    assert AuditOutcome.DENIED in both, "the run's end at the controller"

    async def kept_by_the_agent() -> bool:
        lines = (folder / "agent" / "audit.jsonl").read_text().splitlines()
        return "denied" in [one["outcome"] for one in map(json.loads, lines) if one["run"] == "r2"]

    await until(kept_by_the_agent)
    limits.write_text('[[limit]]\nfor = "site=lab"\nnetwork = ["0.0.0.0/0"]\n')
    hangup()
    assert await outcomes("r3", echo) == [Outcome.DENIED], "what it said before stays in force"
    limits.write_text("")
    assert await outcomes("r4", echo) == [Outcome.OK], "a file that changed is read without being told"
    read = [record for record in (await client.audit(AuditQuery())).records if record.event == "limits-read"]
    assert sorted(record.outcome for record in read) == ["ok", "rejected"]


async def test_a_controller_does_not_start_with_limits_that_cannot_be_read(tmp_path: Path) -> None:
    await asyncio.to_thread(init_mesh, tmp_path / "state", "lab")
    (tmp_path / "state" / "limits.toml").write_text("[[limit]]\nports = [1]\n")
    with pytest.raises(StateError, match="does not say for whom"):
        await serve(tmp_path / "state", "127.0.0.1:0", None, on_ready=lambda a: None, stop=asyncio.Event())


async def test_an_agent_joins_runs_and_probes(served: Served, client: RemoteMesh, echo: int) -> None:
    folder = await served.join(client, "berlin")
    (folder / "policy.toml").write_text(POLICY)
    await served.run_agent("berlin", folder)
    await connected(client, "berlin")
    events = await collect(client, request(("berlin", "nobody"), parse_target(f"127.0.0.1:{echo}")))
    planned, ended = events[0], events[-1]
    assert isinstance(planned, RunPlanned) and ended == RunEnded(False)
    assert [(v.agent, v.site, v.outcome) for v in planned.vantages] == [
        ("berlin", "lab", None),
        ("nobody", None, Outcome.UNMEASURED),
    ]
    rows = [row for e in events if isinstance(e, RunMeasured) for row in e.measurements]
    assert len(rows) == 1 and rows[0].port == echo
    assert [e.status for e in events if isinstance(e, RunVantageEnded)] == [JobStatus.DONE]


async def test_an_agent_killed_in_a_run_is_called_lost(served: Served, client: RemoteMesh) -> None:
    folder = await served.join(client, "berlin")
    process = await served.run_agent("berlin", folder)
    await connected(client, "berlin")
    spec = IcmpSpec(Options(count=1000, interval_s=0.2, timeout_s=1.0))
    asked = RunRequest("r1", (parse_target("icmp:192.0.2.1"),), (spec,), ("berlin",), 2.0)
    events: list[RunEvent] = []
    async for event in client.run(asked):
        events.append(event)
        if isinstance(event, RunPlanned):
            process.send_signal(signal.SIGKILL)
    (end,) = [e for e in events if isinstance(e, RunVantageEnded)]
    assert end.status is JobStatus.LOST and "did not come back" in end.detail


async def test_revocation_cuts_the_agent_off_within_five_seconds(served: Served, client: RemoteMesh) -> None:
    folder = await served.join(client, "berlin")
    await served.run_agent("berlin", folder)
    await connected(client, "berlin")
    async with asyncio.timeout(5):
        assert (await client.revoke_agent("berlin")).state is AgentState.REVOKED
    (info,) = await client.agents()
    assert info.state is AgentState.REVOKED
    assert not [
        e
        for e in await collect(client, request(("berlin",), parse_target("127.0.0.1:1")))
        if isinstance(e, RunMeasured)
    ]


async def test_a_run_that_is_not_known_is_not_picked_up(served: Served, client: RemoteMesh) -> None:
    connection = connect(served.address, load_identity(served.state / "operator"), controller_dns("lab"))
    async with connection:
        message = mesh_pb2.RunRequest(run_id="nobody", resume=True)
        with pytest.raises(NotFound):
            async for _ in connection.stream(MeshStub(connection.channel).Run, message):
                pass


class Relay:
    """A TCP relay whose connections can be cut."""

    def __init__(self, to: str) -> None:
        self._host, port = to.rsplit(":", 1)
        self._port = int(port)
        self._writers: list[asyncio.StreamWriter] = []
        self.served = 0

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served += 1
        there, back = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, back]
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


async def test_a_lost_link_is_healed_in_the_middle_of_a_run(served: Served, client: RemoteMesh) -> None:
    folder = await served.join(client, "berlin")
    await served.run_agent("berlin", folder)
    await connected(client, "berlin")
    spec = IcmpSpec(Options(count=3, interval_s=0.5, timeout_s=0.5))
    asked = RunRequest("r1", (parse_target("icmp:192.0.2.1"),), (spec,), ("berlin",), 5.0)
    relay = Relay(served.address)
    events: list[RunEvent] = []
    async with relay as address:
        mesh = RemoteMesh(address, load_identity(served.state / "operator"))
        async for event in mesh.run(asked):
            events.append(event)
            if isinstance(event, RunPlanned):
                relay.cut()
        await mesh.aclose()
    assert relay.served >= 2
    assert [type(e) for e in events].count(RunPlanned) == 1
    assert events[-1] == RunEnded(False)
    assert sum(isinstance(e, RunVantageEnded) for e in events) == 1


async def test_a_run_is_given_up_though_no_word_of_it_came(
    served: Served, client: RemoteMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller would hold it for half a minute, to be picked up again, and what it armed with it."""
    folder = await served.join(client, "berlin")
    await served.run_agent("berlin", folder)
    await connected(client, "berlin")
    read = asyncio.Event()

    async def never(*_: object) -> None:
        read.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("probemesh_controller.remote._Follower._take", never)
    spec = IcmpSpec(Options(count=1000, interval_s=0.5))
    asked = RunRequest("r1", (parse_target("icmp:192.0.2.1"),), (spec,), ("berlin",), 60.0)
    run = asyncio.create_task(collect(client, asked))
    await read.wait()
    run.cancel()
    await asyncio.wait({run})

    async def over() -> bool:
        (ended,) = (await client.audit(AuditQuery(event="run-ended"))).records or (None,)
        return ended is not None and ended.outcome is AuditOutcome.CANCELLED

    await until(over)


async def test_a_mesh_that_is_closed_under_a_run_ends_it(served: Served, client: RemoteMesh) -> None:
    folder = await served.join(client, "berlin")
    await served.run_agent("berlin", folder)
    await connected(client, "berlin")
    spec = IcmpSpec(Options(count=1000, interval_s=0.5))
    asked = RunRequest("r1", (parse_target("icmp:192.0.2.1"),), (spec,), ("berlin",), 20.0)
    mesh = served.client()
    with pytest.raises(Unreachable):
        async for event in mesh.run(asked):
            if isinstance(event, RunPlanned):
                await mesh.aclose()


async def test_a_controller_that_restarts_has_forgotten_the_run(served: Served, client: RemoteMesh) -> None:
    folder = await served.join(client, "berlin")
    await served.run_agent("berlin", folder)
    await connected(client, "berlin")
    spec = IcmpSpec(Options(count=1000, interval_s=0.2))
    asked = RunRequest("r1", (parse_target("icmp:192.0.2.1"),), (spec,), ("berlin",), 20.0)
    with pytest.raises(Unreachable, match=r"no longer knows|going away|shutting down"):
        async for event in client.run(asked):
            if isinstance(event, RunPlanned):
                address = served.address
                await served.end()
                await served.start(address)
            assert event != RunEnded(False)
        raise Unreachable("the run was ended by the controller that is going away")
    await connected(client, "berlin")


async def test_a_controller_that_is_away_is_said_at_once(served: Served, client: RemoteMesh) -> None:
    await client.status()
    await served.end()
    with pytest.raises(Unreachable):
        await collect(client, request(("berlin",), parse_target("127.0.0.1:1")))


async def test_wrong_requests_are_refused_and_the_controller_lives(
    served: Served, client: RemoteMesh
) -> None:
    target = parse_target("127.0.0.1:1")
    for wrong in (
        RunRequest("", (target,), (TcpSpec(),), ("a",)),
        RunRequest("x", (), (TcpSpec(),), ("a",)),
        RunRequest("x", (target,), (), ("a",)),
        RunRequest("x", (target,), (TcpSpec(),), ()),
    ):
        with pytest.raises(InvalidRequest):
            await collect(client, wrong)
    with pytest.raises(InvalidRequest):
        await client.create_token(TokenRequest(uses=0))
    with pytest.raises(NotFound):
        await client.revoke_agent("nobody")
    assert (await client.status()).mesh == "lab"


async def test_another_meshs_operator_is_refused(served: Served, tmp_path: Path) -> None:
    await asyncio.to_thread(init_mesh, tmp_path / "other", "lab")
    stranger = RemoteMesh(served.address, load_identity(tmp_path / "other" / "operator"))
    try:
        with pytest.raises(CertificateRefused):
            await stranger.status()
    finally:
        await stranger.aclose()


def test_a_wildcard_is_reached_by_a_real_address() -> None:
    assert reached_by("127.0.0.1:0", 7400) == "127.0.0.1:7400"
    host = reached_by("0.0.0.0:0", 7400).rpartition(":")[0]
    assert host not in ("0.0.0.0", "") and os.sep not in host


async def test_fifty_clients_at_once(served: Served, client: RemoteMesh, echo: int) -> None:
    folder = await served.join(client, "berlin")
    (folder / "policy.toml").write_text(POLICY)
    await served.run_agent("berlin", folder)
    await connected(client, "berlin")
    target = parse_target(f"127.0.0.1:{echo}")

    async def one(number: int) -> list[RunEvent]:
        mesh = served.client()
        try:
            return await collect(mesh, request(("berlin",), target, f"r{number}", 30.0))
        finally:
            await mesh.aclose()

    for events in await asyncio.gather(*(one(number) for number in range(50))):
        assert events[-1] == RunEnded(False)
        assert [e.status for e in events if isinstance(e, RunVantageEnded)] == [JobStatus.DONE]
        assert sum(len(e.measurements) for e in events if isinstance(e, RunMeasured)) == 1


async def test_without_a_controller_listening_agents_are_dialled(
    served: Served, client: RemoteMesh, echo: int
) -> None:
    folder = await served.join(client, "berlin")
    (folder / "policy.toml").write_text(POLICY)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{sock.getsockname()[1]}"
    await served.run_agent("berlin", folder, "--listen", listen)
    await connected(client, "berlin")
    agents = {
        "berlin": config.ListeningAgent(listen, "lab"),
        "away": config.ListeningAgent("127.0.0.1:1"),
    }
    mesh = await local_mesh(load_identity(served.state / "operator"), agents)
    try:
        assert {a.name: (a.state, a.site) for a in await mesh.agents()} == {
            "away": (AgentState.LOST, None),
            "berlin": (AgentState.CONNECTED, "lab"),
        }
        assert mesh.why_not("away")
        asked = request(("berlin", "away"), parse_target(f"127.0.0.1:{echo}"))
        events = [event async for event in mesh.run(asked)]
        planned = events[0]
        assert isinstance(planned, RunPlanned)
        assert [v.outcome for v in planned.vantages] == [None, Outcome.AGENT_LOST]
        assert sum(len(e.measurements) for e in events if isinstance(e, RunMeasured)) == 1
        with pytest.raises(InvalidRequest, match="needs a controller"):
            await mesh.create_token(TokenRequest())
    finally:
        await mesh.aclose()

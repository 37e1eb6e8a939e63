"""Agents that were taken over, against a real ``meshctl controller run``: genuine certificates, generated
stubs, and frames that no agent of ours would send. All of them take part in one run, each with a misdeed of
its own, and an honest agent beside them. What it measured has to arrive, theirs may not harm anybody."""

import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from probemesh.v1 import model_pb2 as model
from probemesh.v1 import session_pb2 as session
from probemesh.v1.session_pb2_grpc import FleetStub
from probemesh_controller.api import RunEvent, RunMeasured, RunRequest, RunVantageEnded
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.ca import CertificateAuthority
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.audit.query import AuditQuery
from probemesh_shared.errors import NotAllowed
from probemesh_shared.identity.files import Identity, load_identity
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.model import Options, TcpSpec
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.targets import parse_target
from probemesh_shared.words import AuditOutcome, Outcome, Role

from tests.chaos.live import LiveMesh
from tests.chaos.origin import Origin
from tests.hostile.absurd import WORDS, messages
from tests.hostile.foe import Stream, channel_of, stream
from tests.hostile.rawh2 import END_HEADERS, RawH2, Type, frame, request_headers
from tests.rpc.conftest import issue
from tests.rpc.methods import METHODS, answer, short

pytestmark = pytest.mark.timeout(300)

ATTACH = "/probemesh.v1.Fleet/Attach"
HONEST = "cairo-1"
GROWN_MOST, EVER_MOST = 16 << 20, 320 << 20
DEADLINE_S = 6.0
PATIENCE_S = 60.0


@dataclass
class Stage:
    mesh: LiveMesh
    ca: CertificateAuthority
    numbers: Iterator[int]

    def foe(self, name: str) -> Identity:
        return issue(self.ca, Role.AGENT, f"id-{name}", name)

    def channel(self, who: Identity) -> Any:
        return channel_of(self.mesh.address, who, controller_dns(self.ca.mesh))

    def stream(self, who: Identity, reads: bool = True) -> Any:
        return stream(lambda channel: FleetStub(channel).Attach, self.channel(who), reads)

    def admin(self) -> RemoteMesh:
        return RemoteMesh(self.mesh.address, load_identity(self.mesh.state / "operator"))

    def memory(self, field: str) -> int:
        found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{self.pid}/status").read_text(), re.M)
        assert found is not None
        return int(found[1]) << 10

    @property
    def pid(self) -> int:
        return self.mesh.controller.pid


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    origin = Origin()
    mesh = LiveMesh(tmp_path_factory.mktemp("taken-over"), origin, names=(HONEST,))
    try:
        mesh.raise_it()
        yield Stage(mesh, Authority(mesh.state / "controller").signing(), itertools.count())
    finally:
        mesh.close()
        origin.close()


def hello(name: str, instance: str = "evil", **more: Any) -> session.AgentFrame:
    made = session.Hello(protocol=1, min_protocol=1, software="evil", instance=instance, name=name)
    made.MergeFrom(session.Hello(**more))
    return session.AgentFrame(hello=made)


def row(**more: Any) -> model.Measurement:
    made = {"kind": model.KIND_TCP, "target": "x:1", "outcome": model.OUTCOME_OK, "started_ns": 1} | more
    return model.Measurement(**made)


def results(job: str, seq: int, *rows: model.Measurement) -> session.AgentFrame:
    return session.AgentFrame(results=session.ResultBatch(job_id=job, seq=seq, measurements=rows))


def ending(job: str, seq: int, status: int = session.JOB_STATUS_DONE) -> session.AgentFrame:
    return session.AgentFrame(job_end=session.JobEnd(job_id=job, seq=seq, status=status, detail=WORDS))


def sample(rtt_ms: float) -> model.Sample:
    return model.Sample(rtt_ms=rtt_ms, outcome=model.OUTCOME_OK)


# --- what they do, once they were given a job ------------------------------------------------------------

Misdeed = Callable[[Stage, Identity, Stream, str], Awaitable[None]]


async def others_jobs(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    """Ids can be guessed: those of all others in this run, and of runs that never were."""
    run = job.rpartition(".")[0]
    for other in (*(f"{run}.{number}" for number in range(40)), "run-before.0", WORDS):
        if other != job:
            await made.say(
                results(other, 0, row(samples=[sample(7e5)])), ending(other, 1, session.JOB_STATUS_LOST)
            )
    await made.say(ending(job, 0))


async def wrong_numbers(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    await made.say(results(job, 1 << 62, row()))


async def doubles(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    await made.say(*[results(job, 0, row(samples=[sample(1.0)]))] * 1_000, *[ending(job, 1)] * 100)


async def after_the_end(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    await made.say(ending(job, 0), *(results(job, number, row()) for number in range(1, 100)))


async def absurd_rows(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    """Every field of a measurement wrong in every way; what cannot be read ends this one job."""
    full = row(samples=[sample(1.0)], address="192.0.2.1", port=1)
    for _, wrong in itertools.islice(messages(full), 0, None, 5):
        await made.say(results(job, 0, wrong))  # type: ignore[arg-type]


async def impossible_rows(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    """They can be read, each by itself."""
    far = (1 << 63) - 1
    await made.say(
        results(
            job,
            0,
            row(samples=[sample(86_399_999.0)]),
            row(target_index=1 << 20),
            row(started_ns=far, samples=[sample(1.0)]),
            row(target=WORDS[:60], address=WORDS, log=[WORDS] * 50, samples=[sample(2.0)]),
        ),
        ending(job, 1),
    )


async def a_flood_of_large_ones(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    """In order, and without waiting for a word."""
    large = row(log=["x" * 16_000] * 50)
    for number in range(300):
        if not await made.say(results(job, number, large)):
            break


async def a_flood_of_small_ones(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    for number in range(20_000):
        if not await made.say(results(job, number)):
            break


async def silence(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    """It took the job, and that was all."""


async def a_second_stream(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    for number in range(6):
        async with stage.stream(who) as other:
            await other.say(hello(who.name, f"other-{number}"), ending(job, 0, session.JOB_STATUS_LOST))
            await asyncio.sleep(0.1)


async def never_reading(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    async with stage.stream(stage.foe("deaf-1"), reads=False) as deaf:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await deaf.say(hello("deaf-1"), *(ending(f"{'n' * 150}-{n}", 0) for n in range(20_000)))
    await made.say(ending(job, 0))


async def rubbish(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    """Empty frames, goodbyes; then bytes that are no message, and messages that never become whole."""
    await made.say(
        *[session.AgentFrame()] * 500, *[session.AgentFrame(goodbye=session.Goodbye(reason=WORDS))] * 500
    )
    await made.say(ending(job, 0))
    good = hello(who.name).SerializeToString()
    for wrong in (b"\xff" * 100, good[:-3], bytes(2 << 20), b"\x2a\xff\xff\xff\xff\x0f"):
        async with stage.channel(stage.foe("noise-1")) as channel:
            call = channel.stream_stream(ATTACH)()
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(wrong)
                await call.read()
            call.cancel()
    await asyncio.to_thread(_truncated, stage, good)


def _truncated(stage: Stage, good: bytes) -> None:
    message = b"\0" + len(good).to_bytes(4, "big") + good
    for cut in (3, 5, len(message) - 1):
        with RawH2(stage.mesh.address, stage.foe("noise-2"), controller_dns(stage.ca.mesh)) as raw:
            raw.send(frame(Type.HEADERS, END_HEADERS, 1, request_headers(ATTACH)))
            raw.send(frame(Type.DATA, 0, 1, message[:cut]) + frame(0x77, 0xFF, 1, b"?" * 100))
            raw.drain(0.05)


async def what_operators_may(stage: Stage, who: Identity, made: Stream, job: str) -> None:
    """Every method that there is; its own stream goes on meanwhile."""
    async with stage.channel(who) as channel:
        for path, method in METHODS.items():
            if "Mesh/" in path or "Trust/" in path:
                assert isinstance(await answer(channel, path, method, timeout_s=10.0), NotAllowed), short(
                    path
                )
    await made.say(ending(job, 0))


MISDEEDS: dict[str, Misdeed] = {
    one.__name__.replace("_", "-"): one
    for one in (
        others_jobs,
        wrong_numbers,
        doubles,
        after_the_end,
        absurd_rows,
        impossible_rows,
        a_flood_of_large_ones,
        a_flood_of_small_ones,
        silence,
        a_second_stream,
        never_reading,
        rubbish,
        what_operators_may,
    )
}
#: A hello with more than anybody has, and escapes in every word.
_MANY = [f"{WORDS}{number}" for number in range(4_000)]
BLOATED: dict[str, Any] = {"capabilities": _MANY, "addresses": _MANY}


@contextlib.asynccontextmanager
async def party(stage: Stage) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """All of them attached, each waiting for its job."""
    doing: dict[str, asyncio.Task[None]] = {}
    async with contextlib.AsyncExitStack() as open_ones:
        for name, misdeed in MISDEEDS.items():
            who = stage.foe(name)
            made = await open_ones.enter_async_context(stage.stream(who))
            bloat = BLOATED if name == "silence" else {}
            await made.say(hello(name, f"evil-{next(stage.numbers)}", **bloat))
            await made.until(lambda made: made.kinds["hello"] == 1, PATIENCE_S)
            doing[name] = asyncio.create_task(_when_asked(stage, who, made, misdeed))
        try:
            yield doing
        finally:
            for task in doing.values():
                task.cancel()
            await asyncio.gather(*doing.values(), return_exceptions=True)


async def _when_asked(stage: Stage, who: Identity, made: Stream, misdeed: Misdeed) -> None:
    await made.until(lambda made: made.kinds["job"] > 0, PATIENCE_S)
    await misdeed(stage, who, made, made.told("job")[0].id)


async def run_with_all(stage: Stage) -> tuple[str, list[RunEvent]]:
    run, admin = f"run-{next(stage.numbers)}", stage.admin()
    target = parse_target(f"127.0.0.1:{stage.mesh.origin.port}")
    spec = TcpSpec(Options(count=2, interval_s=0.05, timeout_s=2.0))
    try:
        async with party(stage) as doing:
            asked = RunRequest(run, (target,), (spec,), (HONEST, *MISDEEDS), DEADLINE_S)
            events = [event async for event in admin.run(asked)]
            await asyncio.wait(doing.values(), timeout=PATIENCE_S)
            for name, task in doing.items():
                assert task.done() and task.exception() is None, (name, task)
    finally:
        await admin.aclose()
    return run, events


def of(events: list[RunEvent], agent: str) -> list[Any]:
    return [
        measured
        for event in events
        if isinstance(event, RunMeasured) and event.agent == agent
        for measured in event.measurements
    ]


async def test_the_honest_one_s_run_comes_out_right(stage: Stage) -> None:
    """Twice: the second time shows what is not given back."""
    await run_with_all(stage)
    before, descriptors = stage.memory("VmRSS"), stage.mesh.controller.descriptors()
    run, events = await run_with_all(stage)
    ends = {event.agent: event for event in events if isinstance(event, RunVantageEnded)}
    assert ends.keys() == {HONEST, *MISDEEDS}
    assert ends[HONEST].status is JobStatus.DONE
    (good,) = of(events, HONEST)
    assert (good.outcome, len(good.samples)) == (Outcome.OK, 2)
    assert all(one.rtt_ms is not None and one.rtt_ms < 2_000 for one in good.samples)
    # and of the others' nothing but what each said of itself, and what can be
    assert ends["others-jobs"].status is JobStatus.DONE and not of(events, "others-jobs")
    assert len(of(events, "doubles")) == 1
    assert sorted(one.started_ns for one in of(events, "impossible-rows")) == [1, (1 << 63) - 1]
    for name in ("wrong-numbers", "silence", "a-second-stream"):
        assert ends[name].status is JobStatus.LOST, name
    for name in MISDEEDS:
        assert all(0 <= one.target_index < 1 for one in of(events, name)), name
    assert stage.mesh.controller.alive and "Traceback" not in stage.mesh.controller.said
    assert stage.memory("VmRSS") <= before + GROWN_MOST
    assert stage.memory("VmHWM") <= EVER_MOST
    assert stage.mesh.controller.descriptors() <= descriptors + 16
    assert stage.mesh.controller.said.count(f"agent {HONEST} is attached") == 1, "its stream was never harmed"
    said = stage.mesh.controller.said
    assert "\x1b" not in said and "\u202e" not in said and "\n2026-01-01 forged" not in said
    stored = SqliteStore(stage.mesh.state / "controller" / "store.sqlite")
    try:
        rows = stored.measurements(run)
        assert len(list(rows)) < 2_000
        known = {one.name: one for one in stored.agents()}
    finally:
        stored.close()
    bloated = known["silence"]
    assert len(bloated.capabilities) <= 512 and len(bloated.addresses) <= 64
    assert all(len(word) <= 64 and word.isprintable() for word in bloated.capabilities)


async def test_a_key_reporting_as_another_is_refused(stage: Stage) -> None:
    """T2: A's key, B's name; in words, and on the record."""
    async with stage.stream(stage.foe("thief-1")) as thief:
        await thief.say(hello(HONEST, "thief"))
        async with asyncio.timeout(PATIENCE_S):
            await thief.over.wait()
        assert "may not report as another" in thief.ended
    admin = stage.admin()
    try:
        records = (await admin.audit(AuditQuery(who="thief-1", outcome=AuditOutcome.REFUSED))).records
        assert [one.detail for one in records] == ["agent thief-1 may not report as another"]
        states = {one.name: one for one in await admin.agents()}
    finally:
        await admin.aclose()
    assert states[HONEST].state == "connected" and states["thief-1"].state == "lost"
    assert stage.mesh.controller.said.count(f"agent {HONEST} is attached") == 1


async def test_the_stream_of_a_stolen_key_is_cut_within_five_seconds(stage: Stage) -> None:
    """T2: and it does not come back."""
    who, admin = stage.foe("stolen-1"), stage.admin()
    try:
        async with stage.stream(who) as stolen:
            await stolen.say(hello("stolen-1"))
            await stolen.until(lambda made: made.kinds["hello"] == 1, PATIENCE_S)
            await admin.revoke_agent("stolen-1")
            told = time.monotonic()
            async with asyncio.timeout(PATIENCE_S):
                await stolen.over.wait()
            assert time.monotonic() - told < 5.0
        async with stage.stream(who) as again:
            await again.say(hello("stolen-1"))
            async with asyncio.timeout(PATIENCE_S):
                await again.over.wait()
            assert "revoked" in again.ended
    finally:
        await admin.aclose()

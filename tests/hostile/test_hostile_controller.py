"""A controller that was taken over, against a real ``mesh-agent run``: genuine certificate, generated stubs,
and frames that no controller of ours would send. It may waste its own stream, and nothing else: the kernel
counts what leaves the agent's host."""

import asyncio
import contextlib
import gc
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from probemesh.v1 import model_pb2 as model
from probemesh.v1 import session_pb2 as session
from probemesh.v1.session_pb2_grpc import AgentStub
from probemesh_controller.pki.ca import CertificateAuthority
from probemesh_shared.identity.names import agent_dns
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.session.outbox import MAX_HELD
from probemesh_shared.words import Role

from tests.hostile.absurd import WORDS, messages, specs
from tests.hostile.foe import Stream, channel_of, controller_hello, stream
from tests.hostile.host import CONCURRENT, FRIEND, PACKETS_PER_S, HostedAgent, hosted
from tests.hostile.rawh2 import END_HEADERS, RawH2, Type, frame, request_headers
from tests.rpc.conftest import MESH, issue

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

NAME = agent_dns("berlin-1", MESH)
ATTACH = "/probemesh.v1.Agent/Attach"
#: Memory may grow by so much by any of this, once it has been done before: what is loaded is loaded.
GROWN_MOST = 16 << 20
#: And never be more than this, with as many of the largest messages at once as there can be.
EVER_MOST = 192 << 20
DENIED = ("10.9.0.70", "169.254.169.254", "127.0.0.1", "10.9.0.1", "0.0.0.0", "224.0.0.1", "fe80::1", "::1")
PATIENCE_S = 60.0
#: Descriptors of an agent that serves nobody.
FEW = 24


@dataclass
class Stage:
    agent: HostedAgent
    dial: Callable[..., Any]
    address: str
    foe: Any
    numbers: Iterator[int]

    def stream(self, reads: bool = True) -> Any:
        return stream(lambda channel: AgentStub(channel).Attach, self.channel(), reads)

    def channel(self) -> Any:
        return channel_of(self.address, self.foe, NAME)

    def hello(self, **more: Any) -> session.ControllerFrame:
        """Of a process that the agent has not met."""
        return controller_hello(f"evil-{next(self.numbers)}", **more)

    @contextlib.asynccontextmanager
    async def greeted(self, reads: bool = True) -> AsyncIterator[Stream]:
        async with self.stream(reads) as made:
            await made.say(self.hello())
            if reads:
                await made.until(lambda made: made.kinds["hello"] == 1, PATIENCE_S)
            yield made


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    ca = CertificateAuthority.create(MESH)
    foe = issue(ca, Role.CONTROLLER, "controller", "controller")
    with hosted(tmp_path_factory.mktemp("berlin-1"), issue(ca, Role.AGENT)) as agent:
        yield Stage(agent, stream, agent.reached, foe, itertools.count())


def job(name: str, *targets: tuple[str, int, int], **more: Any) -> session.ControllerFrame:
    """Connects, unless ``spec`` says otherwise; targets with the first and the last of their ports."""
    tcp = model.TcpSpec(options=model.Options(family=model.FAMILY_BOTH, count=1, timeout_s=0.2))
    made = model.Job(
        **{
            "id": name,
            "run_id": "run",
            "budget_ms": 2_000,
            "pacing": model.Pacing(),
            "spec": model.Spec(tcp=tcp),
        }
        | more
    )
    for host, first, last in targets:
        made.targets.add(text=f"{host}:{first}", host=host).ports.add(first=first, last=last)
    return session.ControllerFrame(job=made)


def acknowledging(made: Stream) -> None:
    """As an honest one does."""

    async def answer(message: Any) -> None:
        for kind in ("results", "job_end"):
            if message.WhichOneof("frame") == kind:
                one = getattr(message, kind)
                await made.say(session.ControllerFrame(ack=session.Ack(job_id=one.job_id, seq=one.seq)))

    made.answer = answer


async def refused(made: Stream) -> None:
    """The agent ends it, and says why where it comes to that: it waits a second for who does not read."""
    async with asyncio.timeout(PATIENCE_S):
        await made.over.wait()
    assert {error.code for error in made.told("error")} <= {session.ERROR_CODE_PROTOCOL}


async def serves(stage: Stage) -> None:
    """An honest controller, right after: it is greeted, its job measured and told."""
    async with stage.greeted() as honest:
        acknowledging(honest)
        for _ in range(200):  # the foe's own jobs may still be ending
            honest.heard.clear()
            await honest.say(job(f"good-{next(stage.numbers)}", (FRIEND, 9, 9)))
            await honest.until(lambda made: bool(made.told("job_end")), PATIENCE_S)
            if honest.told("job_end")[0].status == session.JOB_STATUS_DONE:
                break
            await asyncio.sleep(0.1)
        (row,) = honest.told("results")[0].measurements
        assert row.outcome == model.OUTCOME_REFUSED


# --- what it does --------------------------------------------------------------------------------

Attack = Callable[[Stage], Awaitable[None]]


async def many_jobs(stage: Stage) -> None:
    """Each is read, none acknowledged: the agent keeps what waits, and at some point no more."""
    async with stage.greeted() as made:
        for number in range(20_000):
            if not await made.say(job(f"j{number}", (FRIEND, 9, 9))):
                break
        await refused(made)
        assert made.kinds["job_end"] <= MAX_HELD


async def many_owners(stage: Stage) -> None:
    """Processes of one identity, more than an agent serves; each gives work and goes."""
    async with contextlib.AsyncExitStack() as open_ones:
        for _ in range(70):
            made = await open_ones.enter_async_context(stage.stream())
            await made.say(stage.hello(), *(job(f"j{number}", (FRIEND, 9, 9)) for number in range(2)))


async def one_who_does_not_read(stage: Stage) -> None:
    with contextlib.suppress(TimeoutError):
        async with stage.greeted(reads=False) as made, asyncio.timeout(3):
            for number in range(20_000):
                if not await made.say(job(f"j{number}", (FRIEND, 9, 9))):
                    break


async def denied_without_end(stage: Stage) -> None:
    """Nothing of it costs the agent a packet, all of it a row, and nobody takes the rows."""
    for shape in (6, 8_000):
        async with stage.greeted() as made:
            wide = [(DENIED[0], 1, 65_535 if shape == 6 else 1)] * shape
            await made.say(*(job(f"d{number}", *wide) for number in range(8)))
            await asyncio.sleep(0.5)


async def frames_by_the_thousand(stage: Stage) -> None:
    """Of jobs that nobody knows, and of none."""
    frames = [
        *(session.ControllerFrame(cancel=session.Cancel(job_id=f"no-{n}", reason=WORDS)) for n in range(500)),
        *(session.ControllerFrame(ack=session.Ack(job_id=f"no-{n}", seq=n << 40)) for n in range(500)),
        *(session.ControllerFrame(goodbye=session.Goodbye(reason=WORDS)) for _ in range(500)),
        *(session.ControllerFrame(heartbeat=session.Heartbeat(seq=n)) for n in range(500)),
        *(session.ControllerFrame(clock_request=session.ClockRequest(sent_ns=n)) for n in range(500)),
        *(session.ControllerFrame(clock_reply=session.ClockReply(request_sent_ns=n)) for n in range(500)),
        *(session.ControllerFrame(renew_wanted=session.RenewWanted(within_ms=0)) for _ in range(500)),
        *(session.ControllerFrame(deny_list=session.DenyList(names=[f"n{n}", "../x"])) for n in range(500)),
        *(job("the-same", (FRIEND, 9, 9)) for _ in range(500)),
        *(session.ControllerFrame() for _ in range(500)),
    ]
    async with stage.greeted() as made:
        assert await made.say(*frames)
        await made.until(lambda made: made.kinds["job_end"] == 1, PATIENCE_S)
    assert not (stage.agent.log.parent / "state" / "agent" / "denied").exists(), "who dials in tells no lists"


async def out_of_turn(stage: Stage) -> None:
    """Before the hello, a second hello, an acknowledgement of what was never sent, what an agent sends."""
    hello, known = stage.hello, job("j", (FRIEND, 9, 9))
    future = session.ControllerFrame(ack=session.Ack(job_id="j", seq=1 << 60))
    for sent in ([known], [future], [hello(), hello()], [hello(), known, future]):
        async with stage.stream() as made:
            await made.say(*sent)
            await refused(made)


async def impossible_resumption(stage: Stage) -> None:
    wanted = [session.OpenJob(job_id=f"old-{n}", next_seq=(1 << 63) - 1 - n) for n in range(16_000)]
    for claimed in (wanted, [session.OpenJob(job_id="x", next_seq=-1)], [session.OpenJob()]):
        async with stage.stream() as made:
            await made.say(stage.hello(open_jobs=claimed))
            await refused(made)


async def absurd_frames(stage: Stage) -> None:
    """Every field of every frame, wrong in every way there is."""
    tried = 0
    for kind in session.ControllerFrame.DESCRIPTOR.fields:
        if kind.name != "job":
            empty = session.ControllerFrame()
            getattr(empty, kind.name).SetInParent()
            for name, wrong in itertools.islice(messages(empty), 400):
                if name.startswith(kind.name):
                    async with stage.channel() as channel:
                        made = Stream(AgentStub(channel).Attach())
                        await made.say(stage.hello() if kind.name != "hello" else wrong, wrong)
                        await made.close()
                    tried += 1
    assert tried > 50


async def bytes_that_are_none(stage: Stage) -> None:
    """As messages, and as what never becomes one; more than a message may be."""
    good = stage.hello().SerializeToString()
    for wrong in (
        b"\xff" * 100,
        good[:-3],
        b"",
        bytes(2 << 20),
        b"\x2a\xff\xff\xff\xff\x0f",
        b"\x0b" * 4_000,
    ):
        async with stage.channel() as channel:
            call = channel.stream_stream(ATTACH)()
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(good)
                await call.write(wrong)
                await call.read()
            call.cancel()
    await asyncio.to_thread(_truncated, stage, good)


def _truncated(stage: Stage, good: bytes) -> None:
    message = b"\0" + len(good).to_bytes(4, "big") + good
    for cut in (3, 5, len(message) - 1):
        for after in (b"", frame(Type.RST_STREAM, 0, 1, b"\0\0\0\x08"), frame(0x77, 0xFF, 1, b"?" * 100)):
            with RawH2(stage.address, stage.foe, NAME) as raw:
                raw.send(frame(Type.HEADERS, END_HEADERS, 1, request_headers(ATTACH)))
                raw.send(frame(Type.DATA, 0, 1, message[:cut]) + after)
                raw.drain(0.05)


ATTACKS: dict[str, Attack] = {
    one.__name__: one
    for one in (
        many_jobs,
        many_owners,
        one_who_does_not_read,
        denied_without_end,
        frames_by_the_thousand,
        out_of_turn,
        impossible_resumption,
        absurd_frames,
        bytes_that_are_none,
    )
}


async def settled(agent: HostedAgent, most: int) -> int:
    """Descriptors of the agent, once they are no more than ``most``, or PATIENCE_S are over. Channels of the
    foe live on in this process, and dial again, until nobody holds their calls: that is not the agent's
    doing."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while agent.descriptors() > most:
                gc.collect()
                await asyncio.sleep(0.1)
    return agent.descriptors()


@pytest.mark.parametrize("name", ATTACKS)
async def test_the_agent_outlives_it_and_serves_the_next(stage: Stage, name: str) -> None:
    """Twice: the second time shows what is not given back."""
    agent, attack = stage.agent, ATTACKS[name]
    await attack(stage)
    await serves(stage)
    before, descriptors = agent.resident(), await settled(agent, FEW)
    await attack(stage)
    await serves(stage)
    assert agent.alive and "Traceback" not in agent.said
    assert agent.resident() <= before + GROWN_MOST
    assert agent.most_resident() <= EVER_MOST
    assert await settled(agent, descriptors + 16) <= descriptors + 16
    assert agent.counted().leaked == 0, agent.counted().leaks


async def test_no_spec_is_too_absurd(stage: Stage) -> None:
    """Every kind, with every field wrong in every way, at a target that is allowed and one that is not: each
    job ends, none by a fault of ours, and the denied one hears nothing."""
    every = dict(specs())
    assert {name.split(":")[0] for name in every} == {one.name for one in model.Spec.DESCRIPTOR.fields}
    room, ends = asyncio.Semaphore(24), {}
    async with stage.greeted() as made:
        acknowledging(made)
        acknowledge = made.answer
        assert acknowledge is not None

        async def answer(message: Any) -> None:
            await acknowledge(message)
            if message.WhichOneof("frame") == "job_end":
                ends[message.job_end.job_id] = message.job_end
                room.release()

        made.answer = answer
        async with asyncio.timeout(200):
            for name, spec in every.items():
                await room.acquire()
                assert await made.say(
                    job(
                        name[:190],
                        (FRIEND, 9, 9),
                        (FRIEND, 25, 25),
                        *((one, 9, 9) for one in DENIED),
                        spec=spec,
                    )
                    if len(name) <= 190
                    else job(str(hash(name)), (FRIEND, 9, 9), spec=spec)
                ), name
                if len(ends) == len(every) // 2:
                    stage.agent.measured_anew()
            await made.until(lambda _: len(ends) == len(every))
    assert not {one.job_id: one.detail for one in ends.values() if one.status == session.JOB_STATUS_FAILED}
    await serves(stage)
    assert stage.agent.alive and "Traceback" not in stage.agent.said
    assert stage.agent.most_resident() <= EVER_MOST
    assert stage.agent.counted().leaked == 0, stage.agent.counted().leaks


@pytest.mark.parametrize(
    "narrow",
    [
        [],
        [model.Narrowing(networks=["0.0.0.0/0", "::/0"], names=["*"], kinds=[model.KIND_TCP], source="root")],
        [model.Narrowing(networks=["10.9.0.64/26"], ports=[model.PortRange(first=1, last=65_535)])],
        [model.Narrowing(networks=["all of them"])],
        [model.Narrowing()] * 1_000,
    ],
    ids=["none", "everything", "just what is denied", "unreadable", "a thousand"],
)
async def test_no_narrowing_widens(stage: Stage, narrow: list[model.Narrowing]) -> None:
    """T1, T3: what the host's owner denies stays denied, and no packet leaves for it."""
    targets = [*((host, 9, 9) for host in DENIED), (FRIEND, 25, 25)]
    async with stage.greeted() as made:
        acknowledging(made)
        await made.say(job("j", *targets, narrow=narrow))
        await made.until(lambda made: made.kinds["job_end"] == 1, PATIENCE_S)
        rows = [row for batch in made.told("results") for row in batch.measurements]
    assert {row.target_index for row in rows} == set(range(len(targets)))
    assert {row.outcome for row in rows} <= {model.OUTCOME_DENIED, model.OUTCOME_UNMEASURED}
    assert stage.agent.counted().leaked == 0, stage.agent.counted().leaks


async def test_the_owner_s_rate_holds_for_all_jobs_of_all_together(stage: Stage) -> None:
    """By the kernel's own count, while more is asked for than could ever be sent."""
    hurried = model.Options(family=model.FAMILY_IPV4, count=1_000, interval_s=0.0, timeout_s=0.05)
    spec = {
        "tcp": model.Spec(tcp=model.TcpSpec(options=hurried)),
        "icmp": model.Spec(icmp=model.IcmpSpec(options=hurried)),
    }
    spec["udp"] = model.Spec(udp=model.UdpSpec(options=hurried, payload=b"x"))
    async with contextlib.AsyncExitStack() as open_ones:
        for owner in range(2):
            made = await open_ones.enter_async_context(stage.greeted())
            for kind, number in itertools.product(spec, range(12)):
                await made.say(
                    job(f"{owner}-{kind}-{number}", (FRIEND, 9, 19), spec=spec[kind], budget_ms=20_000)
                )
        await asyncio.sleep(0.5)
        began, before = time.monotonic(), stage.agent.counted().tried
        await asyncio.sleep(3.0)
        tried, took = stage.agent.counted().tried - before, time.monotonic() - began
    assert 0 < tried <= PACKETS_PER_S * took * 1.1 + CONCURRENT
    await serves(stage)

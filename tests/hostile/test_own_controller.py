"""The agent's own controller, which it dials and believes in what it says of certificates, was taken over:
lists and wishes without end, forged renewals, bytes that are no message. Then it is put right again."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from probemesh.v1 import enrol_pb2
from probemesh.v1 import model_pb2 as model
from probemesh.v1 import session_pb2 as session
from probemesh.v1.enrol_pb2_grpc import EnrolmentServicer, add_EnrolmentServicer_to_server
from probemesh_controller.pki.ca import CertificateAuthority, new_key
from probemesh_shared.identity.files import Identity
from probemesh_shared.identity.names import Subject
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.words import Role

from tests.hostile.absurd import WORDS
from tests.hostile.foe import controller_hello
from tests.hostile.host import FRIEND, hosted
from tests.rpc.conftest import issue

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

GROWN_MOST = 24 << 20  # from a process that has done nothing yet, TLS of its own and the first probe with it
PATIENCE_S = 60.0


class TakenOver(EnrolmentServicer):
    """``Attach`` is served as bytes: what is said need not be a message. The first link is the foe's, those
    after it are honest."""

    def __init__(self, ca: CertificateAuthority) -> None:
        self._ca = ca
        self.renewals = self.links = 0
        self.asked = asyncio.Event()
        self.raged, self.served = asyncio.Event(), asyncio.Event()
        self.rows: list[model.Measurement] = []

    async def Renew(self, request: Any, context: Any) -> enrol_pb2.RenewResponse:  # type: ignore[override]
        """For a key that nobody has."""
        self.renewals += 1
        self.asked.set()
        own = Subject(self._ca.mesh, Role.AGENT, "4f2a", "berlin-1")
        forged = self._ca.issue(own, new_key().public_key()).certificate_pem
        return enrol_pb2.RenewResponse(certificate_pem=forged, ca_pem=self._ca.certificate_pem)

    async def attach(self, requests: Any, context: Any) -> None:
        self.links += 1
        await self._say(context, controller_hello(f"link-{self.links}"))
        await context.read()
        if self.links == 1:
            await self._rage(context)
        else:
            await self._serve(context)

    async def _say(self, context: Any, message: Any) -> None:
        await context.write(message.SerializeToString())

    async def _rage(self, context: Any) -> None:
        for number in range(300):
            listed = session.DenyList(
                names=[f"eve-{number}", "../../etc/passwd", WORDS, "UPPER"],
                serials=[f"{number:x}{one:04x}" for one in range(500)] + [WORDS, "x" * 5_000],
            )
            await self._say(context, session.ControllerFrame(deny_list=listed))
            wanted = session.RenewWanted(within_ms=0)
            await self._say(context, session.ControllerFrame(renew_wanted=wanted))
        await self.asked.wait()
        self.raged.set()
        await context.write(b"\xff" * 1_000)

    async def _serve(self, context: Any) -> None:
        spec = model.TcpSpec(options=model.Options(family=model.FAMILY_IPV4, count=1, timeout_s=2.0))
        job = model.Job(id="good", run_id="run", budget_ms=10_000, pacing=model.Pacing())
        job.spec.tcp.CopyFrom(spec)
        job.targets.add(text="x:9", host=FRIEND).ports.add(first=9, last=9)
        await self._say(context, session.ControllerFrame(job=job))
        while (data := await context.read()) is not grpc.aio.EOF:
            said = session.AgentFrame.FromString(data)
            self.rows += said.results.measurements
            if said.HasField("job_end"):
                self.served.set()


async def start(foe: TakenOver, identity: Identity) -> tuple[Any, int]:
    server = grpc.aio.server()
    add_EnrolmentServicer_to_server(foe, server)  # type: ignore[no-untyped-call]
    handlers = {"Attach": grpc.stream_stream_rpc_method_handler(foe.attach)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("probemesh.v1.Fleet", handlers),))
    pair = (identity.key_pem, identity.certificate_pem)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair], identity.ca_pem, True))
    await server.start()
    return server, port


async def test_the_agent_keeps_what_is_good_and_comes_back(
    ca: CertificateAuthority, controller: Identity, tmp_path: Path
) -> None:
    foe, good = TakenOver(ca), issue(ca, Role.AGENT)
    server, port = await start(foe, controller)
    try:
        with hosted(tmp_path, good, port) as agent:
            before = agent.resident()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await foe.raged.wait()
                    await foe.served.wait()
            except TimeoutError:
                pytest.fail(f"{foe.links} links, {foe.renewals} renewals: {agent.said[-3000:]}")
            assert [row.outcome for row in foe.rows] == [model.OUTCOME_REFUSED]
            of_grpc = agent.said.count("Exception deserializing message!")  # its own words for such bytes
            assert agent.alive and agent.said.count("Traceback") == of_grpc
            assert "of no use: its key does not fit" in agent.said
            assert foe.renewals == 1, "it is not asked again at the foe's pace"
            assert agent.resident() <= before + GROWN_MOST
            assert agent.counted().leaked == 0, agent.counted().leaks
    finally:
        await server.stop(None)
    folder = tmp_path / "state" / "agent"
    assert (folder / "cert.pem").read_bytes() == good.certificate_pem
    assert (folder / "key.pem").read_bytes() == good.key_pem
    denied = (folder / "denied").read_text().splitlines()
    (name,) = [line for line in denied if line.startswith("name ")]
    last = re.fullmatch(r"name eve-(\d+)", name)  # it went away while others were on their way
    assert last is not None
    assert denied == [*(f"serial {int(last[1]):x}{one:04x}" for one in range(500)), name]

"""``mesh-agent run`` as a real process, against a controller's end in this one."""

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest
from agent_tests_mesh import Controller, Mesh, job, running
from probemesh_controller.pki.ca import CertificateAuthority
from probemesh_shared.model import IcmpSpec, LadderSpec, Options
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import Kind, Outcome, Role

from tests.addresses import COMES_BACK


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


async def ready(controller: Controller) -> None:
    async with asyncio.timeout(20):
        await controller.ready.wait()


async def test_dials_says_hello_and_measures(mesh: Mesh, quiet_port: int) -> None:
    controller = Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("berlin-1", f"127.0.0.1:{port}")
        async with running(state, "--advertise", "192.0.2.7") as agent:
            await ready(controller)
            assert controller.hello is not None
            assert controller.hello.name == "berlin-1"
            assert controller.hello.addresses == ("192.0.2.7",)
            assert {"kind:tcp", "kind:ladder", "kind:icmp"} <= set(controller.hello.capabilities)
            controller.send(job("j1", f"127.0.0.1:{quiet_port}", "127.0.0.1:1"))
            assert (await controller.end_of("j1")).status is JobStatus.DONE
            outcomes = {row.target_index: row.outcome for row in controller.rows["j1"]}
            assert outcomes == {0: Outcome.OK, 1: Outcome.REFUSED}
            controller.send(
                job("j2", f"127.0.0.1:{quiet_port}", spec=LadderSpec(Options(count=1, timeout_s=1.0)))
            )
            await controller.end_of("j2")
            assert {row.kind for row in controller.rows["j2"]} >= {Kind.TCP}
            assert await agent.stop() == 0


async def test_policy_as_shipped_denies_loopback(mesh: Mesh, quiet_port: int) -> None:
    controller = Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        (state / "policy.toml").write_text("[allow]\n")
        async with running(state):
            await ready(controller)
            controller.send(job("j", f"127.0.0.1:{quiet_port}"))
            await controller.end_of("j")
            assert [row.outcome for row in controller.rows["j"]] == [Outcome.DENIED]


async def test_sighup_puts_a_changed_policy_in_force_and_keeps_the_last_good_one(
    mesh: Mesh, quiet_port: int
) -> None:
    controller = Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        async with running(state) as agent:
            await ready(controller)
            long = IcmpSpec(Options(count=600, interval_s=1.0))
            controller.send(job("long", "127.0.0.1", spec=long, budget_ms=600_000))
            controller.send(job("before", f"127.0.0.1:{quiet_port}"))
            await controller.end_of("before")
            (state / "policy.toml").write_text(f"[allow]\nloopback = true\n[deny]\nports = [{quiet_port}]\n")
            agent.process.send_signal(signal.SIGHUP)
            ended = await controller.end_of("long")
            assert (ended.status, ended.detail) == (JobStatus.CANCELLED, "this host's policy has changed")
            (state / "policy.toml").write_text("[allow\n")
            agent.process.send_signal(signal.SIGHUP)
            controller.send(job("after", f"127.0.0.1:{quiet_port}", "127.0.0.1:1"))
            await controller.end_of("after")
            outcomes = {
                name: [row.outcome for row in sorted(controller.rows[name], key=lambda row: row.target_index)]
                for name in ("before", "after")
            }
            assert outcomes == {"before": [Outcome.OK], "after": [Outcome.DENIED, Outcome.REFUSED]}
            assert await agent.stop() == 0


async def test_an_agent_ends_with_its_terminal(mesh: Mesh) -> None:
    """A signal that comes while there is one reads the policy again."""
    controller = Controller()
    master, slave = os.openpty()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        async with running(state, stdin=slave) as agent:
            await ready(controller)
            agent.process.send_signal(signal.SIGHUP)
            controller.send(job("j", "127.0.0.1:1"))
            await controller.end_of("j")
            os.close(master)
            agent.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(15):
                assert await agent.process.wait() == 0
    os.close(slave)


async def test_cancel_ends_a_job_within_a_second(mesh: Mesh) -> None:
    controller = Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        async with running(state):
            await ready(controller)
            long = IcmpSpec(Options(count=600, interval_s=1.0))
            controller.send(job("long", "127.0.0.1", spec=long, budget_ms=600_000))
            controller.send(job("short", "127.0.0.1:1"))
            await controller.end_of("short")
            began = asyncio.get_running_loop().time()
            controller.cancel("long")
            assert (await controller.end_of("long")).status is JobStatus.CANCELLED
            assert asyncio.get_running_loop().time() - began < 1.0


async def test_results_survive_a_lost_link_and_arrive_once(mesh: Mesh) -> None:
    """The server is stopped in mid-job, and comes back as the same process of the controller."""
    controller = Controller()
    state_of = None
    async with mesh.serving(controller, host=COMES_BACK) as (server, port):
        state_of = mesh.agent_state("a", f"{COMES_BACK}:{port}")
        async with running(state_of):
            await ready(controller)
            spec = IcmpSpec(Options(count=5, interval_s=0.3))
            controller.send(job("j", "127.0.0.1", spec=spec, budget_ms=20_000))
            controller.send(job("first", "127.0.0.1:1"))
            await controller.end_of("first")
            await server.stop()
            async with mesh.serving(controller, port, COMES_BACK):
                await controller.end_of("j")
                assert controller.links == 2
                assert len(controller.rows["j"]) == 1
                assert len(controller.rows["j"][0].samples) == 5
                assert controller.ends["j"].status is JobStatus.DONE


async def test_a_controller_that_restarted_gets_its_old_jobs_stopped(mesh: Mesh) -> None:
    first, second = Controller(), Controller(instance="two")
    async with mesh.serving(first, host=COMES_BACK) as (server, port):
        state = mesh.agent_state("a", f"{COMES_BACK}:{port}")
        async with running(state, "--debug") as agent:
            await ready(first)
            long = IcmpSpec(Options(count=600, interval_s=1.0))
            first.send(job("old", "127.0.0.1", spec=long, budget_ms=600_000))
            first.send(job("short", "127.0.0.1:1"))
            await first.end_of("short")
            await server.stop()
            async with mesh.serving(second, port, COMES_BACK):
                await ready(second)
                await agent.logged("the controller was restarted")
                second.send(job("new", "127.0.0.1:1"))
                await second.end_of("new")
                assert "old" not in second.rows


async def test_sigterm_drains_and_exits_0(mesh: Mesh) -> None:
    controller = Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        async with running(state) as agent:
            await ready(controller)
            long = IcmpSpec(Options(count=600, interval_s=0.5))
            controller.send(job("long", "127.0.0.1", spec=long, budget_ms=600_000))
            controller.send(job("short", "127.0.0.1:1"))
            await controller.end_of("short")
            began = asyncio.get_running_loop().time()
            assert await agent.stop() == 0
            assert asyncio.get_running_loop().time() - began < 10
            assert controller.ends["long"].status is JobStatus.CANCELLED
            assert not any("lost" in line for line in agent.lines)


async def test_sigterm_without_a_controller_is_quick(mesh: Mesh) -> None:
    state = mesh.agent_state("a", "127.0.0.1:1")
    async with running(state) as agent:
        await agent.logged("controller is away")
        assert await agent.stop() == 0


async def test_tells_a_refused_certificate_from_a_controller_that_is_away(mesh: Mesh) -> None:
    away = mesh.agent_state("away", "127.0.0.1:1")
    controller = Controller()
    async with mesh.serving(controller) as (_, port):
        stranger = mesh.agent_state("stranger", f"127.0.0.1:{port}", CertificateAuthority.create("test"))
        async with running(away) as one, running(stranger) as other:
            assert re.search(
                r"warning dial: the controller is away: .*next attempt in \d",
                await one.logged("controller is away"),
            )
            line = await other.logged("certificate refused")
            assert "error dial:" in line
            assert float(line.rsplit("attempt in ", 1)[1].split(" ")[0]) >= 60


async def test_listens_for_operators_and_for_nobody_else(mesh: Mesh, quiet_port: int) -> None:
    """Two laptops of one operator at once; another agent is turned away."""
    state = mesh.agent_state("a", "127.0.0.1:1")
    async with running(state, "--listen", "127.0.0.1:0") as agent:
        port = int((await agent.logged("listening on")).rsplit(":", 1)[1])
        ann = mesh.issue(Role.OPERATOR, "ann", "ann")
        one, two = Controller(instance="1"), Controller(instance="2")
        async with mesh.dialling(one, "a", port, ann), mesh.dialling(two, "a", port, ann):
            one.send(job("same", f"127.0.0.1:{quiet_port}"))
            two.send(job("same", "127.0.0.1:1"))
            await one.end_of("same")
            await two.end_of("same")
            assert one.rows["same"][0].outcome is Outcome.OK
            assert two.rows["same"][0].outcome is Outcome.REFUSED
        other = Controller()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2), mesh.dialling(other, "a", port, mesh.issue(Role.AGENT, "x", "x")):
                pass
        assert other.hello is None
        assert await agent.stop() == 0


async def test_proxy_variables_change_nothing(mesh: Mesh) -> None:
    controller = Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        lies = {"https_proxy": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
        async with running(state, environ=lies):
            await ready(controller)


async def test_dials_through_a_proxy_only_when_asked(mesh: Mesh) -> None:
    """A CONNECT proxy; ``no_proxy`` does not overrule ``--proxy``."""
    asked: list[str] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.read(65536):
            writer.write(line)
            await writer.drain()
        writer.close()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, where, _ = head.split(" ", 2)
        asked.append(f"{method} {where}")
        host, _, port = where.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(relay(reader, far_writer), relay(far_reader, writer), return_exceptions=True)

    controller = Controller()
    async with (
        mesh.serving(controller) as (_, port),
        await asyncio.start_server(proxy, "127.0.0.1", 0) as server,
    ):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        async with running(state, "--proxy", url, environ={"no_proxy": "127.0.0.1"}) as agent:
            await ready(controller)
            assert asked == [f"CONNECT 127.0.0.1:{port}"]
            assert await agent.stop() == 0


async def test_a_proxy_that_is_away_is_named(mesh: Mesh) -> None:
    state = mesh.agent_state("a", "127.0.0.1:1")
    async with running(state, "--proxy", "http://127.0.0.1:2") as agent:
        assert "through http://127.0.0.1:2" in await agent.logged("controller is away")


@pytest.mark.parametrize(
    "url", ["socks5://x:1", "proxy", "http://proxy", "http://ann:secret@proxy:3128", "http://x:y"]
)
async def test_a_proxy_that_cannot_be_used_is_wrong_use(mesh: Mesh, url: str) -> None:
    state = mesh.agent_state("a", "127.0.0.1:1")
    async with running(state, "--proxy", url) as agent:
        await agent.logged("--proxy")
        assert await agent.process.wait() == 2
        assert "secret" not in "".join(agent.lines)

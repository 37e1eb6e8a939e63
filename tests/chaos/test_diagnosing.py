"""Two real agents on watch: whatever becomes of the diagnosis, nothing stays open at either of them."""

import asyncio
import contextlib
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable

import pytest
from probemesh_controller.pair.case import Asked, Case, Limits, Round, Step
from probemesh_controller.pair.drive import Driver
from probemesh_controller.remote import RemoteMesh
from probemesh_shared.clock import SystemClock
from probemesh_shared.identity.files import load_identity
from probemesh_shared.model import FlowSpec, Options, Shot
from probemesh_shared.words import Direction, Outcome, Transport

from tests.chaos.live import PROGRAMS, LiveMesh, until
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

A, B = "berlin-1", "cairo-1"


def is_open(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def plan(seconds: float = 0.1) -> Callable[[Case], Round | None]:
    """One round: both dial each other's port, and hold what stands for ``seconds``."""

    def once(case: Case) -> Round | None:
        if case.rounds:
            return None
        a, b = case.ends
        steps = [
            Step(
                f"s{number}",
                "first:flow",
                "whether it connects",
                near.name,
                far.addresses[0],
                port,
                FlowSpec(
                    Options(timeout_s=1.0), Transport.TCP, (Shot(hold_ms=seconds * 1000),), token=far.token
                ),
                far.name,
                direction,
            )
            for number, (near, far, port, direction) in enumerate(
                (
                    (a, b, case.asked.port, Direction.FORWARD),
                    (b, a, case.asked.reverse_port, Direction.REVERSE),
                )
            )
        ]
        return Round(tuple(steps))

    return once


@contextlib.asynccontextmanager
async def connected(mesh: LiveMesh) -> AsyncIterator[RemoteMesh]:
    remote = RemoteMesh(mesh.address, load_identity(mesh.state / "operator"))
    try:
        yield remote
    finally:
        await remote.aclose()


def asked() -> Asked:
    return Asked(A, B, Transport.TCP, free_port(), free_port(), listen=True, limits=Limits(seconds=20.0))


def nothing_listens(mesh: LiveMesh, pair: Asked) -> None:
    ends = ((A, pair.reverse_port), (B, pair.port))
    until(
        lambda: not any(is_open(mesh.members[name].address, port or 0) for name, port in ends),
        15,
        "nothing listens any more",
    )


def closed_again(mesh: LiveMesh, pair: Asked, before: dict[str, int]) -> None:
    """Both ports, and every descriptor that was opened for the watches."""
    nothing_listens(mesh, pair)
    for name in (A, B):
        own_closed_again(mesh, name, before)


def own_closed_again(mesh: LiveMesh, name: str, before: dict[str, int]) -> None:
    program = mesh.members[name].program
    try:
        until(lambda: program.descriptors() <= before[name], 5, "all descriptors are closed")
    except AssertionError as fault:
        fault.add_note(f"{name} had {before[name]}, and has {program.open_files()}")
        raise


def armed(mesh: LiveMesh, pair: Asked) -> None:
    until(lambda: is_open(mesh.members[B].address, pair.port or 0), 10, "the watch is armed")


def descriptors(mesh: LiveMesh) -> dict[str, int]:
    return {name: mesh.members[name].program.descriptors() for name in (A, B)}


async def rehearsed(mesh: LiveMesh) -> dict[str, int]:
    """Descriptors after a first diagnosis: what is loaded and opened once for all stays."""
    async with connected(mesh) as remote:
        await Driver(remote, asked(), SystemClock(), plan=plan()).run()
    await asyncio.sleep(0.3)
    return descriptors(mesh)


async def test_both_ends_hear_each_other_and_close_everything(mesh: LiveMesh) -> None:
    before = await rehearsed(mesh)
    pair = asked()
    async with connected(mesh) as remote:
        case = await Driver(remote, pair, SystemClock(), plan=plan()).run()
    for done in case.rounds[0].steps:
        assert done.rows[0].outcome is Outcome.OK
    seen = {look.agent: look.account.accepted for look in case.rounds[0].looks}
    assert {one.address for one in seen[A]} == {mesh.members[B].address}
    assert {one.address for one in seen[B]} == {mesh.members[A].address}
    assert case.lost == case.problems == ()
    assert case.elapsed_s < 2.0
    closed_again(mesh, pair, before)


async def test_an_interrupt_closes_everything(mesh: LiveMesh) -> None:
    before = await rehearsed(mesh)
    pair = asked()
    async with connected(mesh) as remote:
        driver = Driver(remote, pair, SystemClock(), plan=plan(10.0))
        task = asyncio.ensure_future(driver.run())
        await asyncio.to_thread(armed, mesh, pair)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    closed_again(mesh, pair, before)


async def test_an_agent_that_is_killed_half_way_is_lost_and_the_other_closes_everything(
    mesh: LiveMesh,
) -> None:
    before = await rehearsed(mesh)
    pair = asked()
    async with connected(mesh) as remote:
        driver = Driver(remote, pair, SystemClock(), plan=plan(10.0))
        task = asyncio.ensure_future(driver.run())
        await asyncio.to_thread(armed, mesh, pair)
        await asyncio.sleep(0.2)
        mesh.members[B].program.kill()
        case = await task
    assert case.lost == (B,)
    assert case.rounds[0].steps[1].problem == "it was lost"
    assert [look.agent for look in case.rounds[0].looks] == [A]
    until(lambda: not is_open(mesh.members[A].address, pair.reverse_port or 0), 5, "nothing listens")
    own_closed_again(mesh, A, before)


async def test_a_port_in_use_is_told_and_left_alone(mesh: LiveMesh) -> None:
    with socket.socket() as service:
        service.bind((mesh.members[B].address, 0))
        service.listen()
        port = service.getsockname()[1]
        pair = Asked(A, B, Transport.TCP, port, free_port(), listen=True)
        async with connected(mesh) as remote:
            case = await Driver(remote, pair, SystemClock(), plan=plan()).run()
        end = case.end(B)
        assert end is not None and end.armed is not None
        assert end.armed.listen_failure is not None
        assert [one for one in case.problems if one.startswith(f"{B} does not listen there itself: ")]
        assert not any(one.ours for one in end.armed.listeners)
        assert case.rounds[0].steps[0].rows[0].outcome is Outcome.OK  # it answered by itself


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_interrupted_leaves_nothing(mesh: LiveMesh, number: signal.Signals) -> None:
    pair = asked()
    words = ("diagnose", A, B, "--tcp", str(pair.port), "--reverse-port", str(pair.reverse_port), "--listen")
    with subprocess.Popen(
        [str(PROGRAMS / "meshctl"), *words],
        env=mesh.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            armed(mesh, pair)
            process.send_signal(number)
            _, errors = process.communicate(timeout=10)
        finally:
            process.kill()
    assert "Traceback" not in errors
    assert process.returncode == 130
    nothing_listens(mesh, pair)

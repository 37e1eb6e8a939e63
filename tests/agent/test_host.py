"""What the agent asks of its host: addresses, systemd, lanes that outlive links, log lines."""

import asyncio
import json
import logging
import os
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from agent_tests_fakes import FakeNetwork, ScriptedProbe, row
from agent_tests_mesh import job
from probemesh_agent import addresses, capabilities, doctor, kernelclock
from probemesh_agent.lanes import MAX_OF_ONE, MAX_OWNERS, MOST_WAITING, Lanes, OutboxLane
from probemesh_agent.notify import Notifier
from probemesh_agent.runner import Runner
from probemesh_shared.clock import VirtualClock
from probemesh_shared.errors import Busy, InvalidRequest
from probemesh_shared.logs import JsonFormatter, PlainFormatter
from probemesh_shared.model import TcpSpec, WatchSpec
from probemesh_shared.session.driver import Wake
from probemesh_shared.words import Kind


def test_advertised_addresses_replace_the_others() -> None:
    assert addresses.candidates(("192.0.2.7", "2001:DB8::1", "192.0.2.7")) == ("192.0.2.7", "2001:db8::1")
    for wrong in ("host.example", "192.0.2.7:80", "0.0.0.0", "224.0.0.1", ""):
        with pytest.raises(InvalidRequest):
            addresses.candidates((wrong,))


def test_interface_addresses_are_those_of_the_kernel() -> None:
    listed = {str(address) for address in addresses.interface_addresses()}
    assert "127.0.0.1" in listed
    assert not any(text.startswith(("127.", "fe80:", "::1")) for text in addresses.candidates(()))


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_netlink_messages_that_are_cut_short_hold_nothing(cut: int) -> None:
    whole = bytes.fromhex("20000000140002000100000000000000021880000100000008000200c0000207")
    found = [addresses.parse_address(body) for _, body in addresses.messages(whole[:cut])]
    assert found == ([] if cut < len(whole) else [addresses.parse_address(whole[16:])])
    assert str(addresses.parse_address(whole[16:])) == "192.0.2.7"


def test_an_agent_that_was_told_its_addresses_says_so() -> None:
    assert "advertised" in capabilities.gather((), advertised=True)
    assert "advertised" not in capabilities.gather(())


def test_the_many_counters_come_last_in_hello() -> None:
    words = capabilities.in_order(
        {"kind:tcp", "counter:Ip.InReceives", "advertised", "counter:Ip.InDelivers"}
    )
    assert words == ("advertised", "kind:tcp", "counter:Ip.InDelivers", "counter:Ip.InReceives")


def test_effective_capabilities(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapEff:\t0000000000002000\n")
    assert capabilities.effective(status) == ("net-raw",)
    assert capabilities.effective(tmp_path / "none") == ()


def test_systemd_hears_ready_alive_and_stopping(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(5)
        environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}
        notifier = Notifier(environ)
        assert notifier.watchdog_s == 5.0
        notifier.ready("up")
        notifier.alive()
        notifier.stopping()
        assert [manager.recv(100) for _ in range(3)] == [b"READY=1\nSTATUS=up", b"WATCHDOG=1", b"STOPPING=1"]
    notifier.alive()  # nobody listens any more: no error
    assert Notifier({**environ, "WATCHDOG_PID": "1"}).watchdog_s is None
    assert Notifier({}).watchdog_s is None


def test_a_log_line_stays_one_line() -> None:
    record = logging.LogRecord(
        "probemesh_agent.dial", logging.INFO, "", 0, "peer %s", ("a\n\x1b[31mb",), None
    )
    assert PlainFormatter().format(record).endswith("info dial: peer a\\x0a\\x1b[31mb")
    assert json.loads(JsonFormatter().format(record))["message"] == "peer a\\x0a\\x1b[31mb"


def test_doctor_judges_what_it_is_given(tmp_path: Path) -> None:
    level = doctor.Level
    assert doctor.clock(kernelclock.ClockState(False, 16_000)).level is level.WARN
    assert doctor.clock(kernelclock.ClockState(True, 2)).level is level.OK
    assert doctor.ping(None, (1, 0), 0).level is level.FAIL
    assert doctor.ping("ping-program", (1, 0), 0).level is level.WARN
    assert doctor.descriptors(1024).level is level.WARN
    assert doctor.resolver(tmp_path / "none").level is level.WARN
    (tmp_path / "agent").mkdir(mode=0o755)
    assert doctor.state_folder(tmp_path).level is level.FAIL
    (tmp_path / "agent").chmod(0o700)
    assert doctor.state_folder(tmp_path).level is level.OK


class Standing:
    """Lanes over a runner whose one kind never ends by itself."""

    def __init__(self) -> None:
        self.clock = VirtualClock()

        async def endless(targets: object, env: object):
            while True:
                yield [row(0)]
                await self.clock.sleep(1.0)

        probe = ScriptedProbe(endless)
        self.runner = Runner({Kind.TCP: probe, Kind.WATCH: probe}, FakeNetwork(), self.clock)
        self.lanes = Lanes(self.runner, self.clock)


async def test_a_lane_is_kept_30_seconds_and_then_its_jobs_stop() -> None:
    standing = Standing()
    async with standing.lanes.attached("ann", "1", Wake()) as lane:
        lane.outbox.open("j")
        standing.runner.start(job("j", "a.example:1", budget_ms=600_000), lane)
    await standing.clock.advance(29)
    assert (standing.runner.active, len(standing.lanes)) == (1, 1)
    async with standing.lanes.attached("ann", "1", Wake()) as again:
        assert again is lane
        await standing.clock.advance(60)
        assert standing.runner.active == 1
    await standing.clock.advance(31)
    assert (standing.runner.active, len(standing.lanes)) == (0, 0)
    await standing.lanes.close()


async def test_a_watch_ends_ten_seconds_after_its_link_and_nothing_else_does() -> None:
    standing = Standing()
    async with standing.lanes.attached("ann", "1", Wake()) as lane:
        for name, spec in (("j", TcpSpec()), ("w", WatchSpec(token=bytes(16)))):
            lane.outbox.open(name)
            standing.runner.start(job(name, "a.example:1", spec=spec, budget_ms=600_000), lane)
    await standing.clock.advance(9)
    assert standing.runner.active == 2
    async with standing.lanes.attached("ann", "1", Wake()):
        await standing.clock.advance(60)
        assert standing.runner.active == 2, "the link came back in time"
    await standing.clock.advance(11)
    assert standing.runner.active == 1
    await standing.clock.advance(20)
    assert standing.runner.active == 0
    await standing.lanes.close()


async def test_a_new_link_of_the_same_owner_closes_the_old_one() -> None:
    standing = Standing()
    old, left = Wake(), asyncio.Event()

    async def first() -> None:
        async with standing.lanes.attached("ann", "1", old):
            while not old.closing:
                await old.wait()
        left.set()

    task = asyncio.create_task(first())
    await standing.clock.settle()
    async with standing.lanes.attached("ann", "1", Wake()):
        assert left.is_set()
    await task
    await standing.lanes.close()


async def hold(standing: Standing, stack: AsyncExitStack, identity: str, instance: int) -> OutboxLane:
    return await stack.enter_async_context(standing.lanes.attached(identity, str(instance), Wake()))


async def test_too_many_owners_are_turned_away_but_for_the_own_controller() -> None:
    standing = Standing()
    async with AsyncExitStack() as stack:
        for number in range(MAX_OWNERS):
            await hold(standing, stack, f"ann{number // MAX_OF_ONE}", number)
        with pytest.raises(Busy):
            await hold(standing, stack, "bob", 0)
        async with standing.lanes.attached("controller:mesh", "1", Wake(), alone=True):
            assert len(standing.lanes) == MAX_OWNERS + 1
    async with standing.lanes.attached("bob", "0", Wake()):
        pass  # they have gone, and left nothing behind
    await standing.lanes.close()


async def test_one_identity_takes_places_from_itself_alone() -> None:
    standing = Standing()
    async with standing.lanes.attached("bob", "0", Wake()) as lane:
        lane.outbox.open("j")
    async with AsyncExitStack() as stack:
        for number in range(3 * MAX_OF_ONE):
            async with standing.lanes.attached("ann", str(number), Wake()) as lane:
                lane.outbox.open("j")
        assert len(standing.lanes) == MAX_OF_ONE + 1
        for number in range(MAX_OF_ONE):
            await hold(standing, stack, "ann", 100 + number)
        with pytest.raises(Busy):
            await hold(standing, stack, "ann", 200)
        assert len(standing.lanes) == MAX_OF_ONE + 1, "bob's is kept"
    await standing.lanes.close()


async def test_all_owners_together_have_as_much_waiting_as_one_alone() -> None:
    standing = Standing()
    rows = [replace(row(number), log=("x" * 1000,)) for number in range(1024)]
    async with AsyncExitStack() as stack:
        lanes = [await hold(standing, stack, f"ann{n}", n) for n in range(32)]
        for lane in lanes:
            lane.outbox.open("j")
            while lane.outbox.room:
                lane.outbox.add("j", rows[:64])
        assert sum(lane.outbox.waiting for lane in lanes) <= 1.5 * MOST_WAITING
    await standing.lanes.close()

"""tcp beyond the connect: banners, send and expect, what a peer makes of our FIN, and source ports."""

import asyncio
import contextlib
import random
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from probemesh_agent.probes.tcptalk import KEPT_ANSWER, MOST_AFTER_FIN
from probemesh_shared.expectations import Judge
from probemesh_shared.model import Expectation, Measurement, Options, PortRange, Target, TcpDetail, TcpSpec
from probemesh_shared.words import FailureKind, Outcome, Stage

from tests.probes_rich.rich_bench import QUICK, Bench, at, reset, serving, silent

SHORT = replace(QUICK, timeout_s=0.3)


def detail(row: Measurement) -> TcpDetail:
    assert isinstance(row.detail, TcpDetail)
    return row.detail


def expecting(value: str, options: Options = QUICK) -> Options:
    return replace(options, expect=(Expectation("answer", value),))


async def echo(reader, writer) -> None:
    while data := await reader.read(1000):
        writer.write(b"you said " + data)


async def greeter(reader, writer) -> None:
    writer.write(b"SSH-2.0-test\r\n")
    await silent(reader, writer)


async def test_send_keeps_the_answer_and_its_time(bench: Bench) -> None:
    async with serving(echo) as port:
        row = await bench.one(TcpSpec(QUICK, send=b"PING\r\n"), at(port))
        met = await bench.one(TcpSpec(expecting("said PING"), send=b"PING\r\n"), at(port))
        unmet = await bench.one(TcpSpec(expecting("PONG", SHORT), send=b"PING\r\n"), at(port))
    assert row.outcome is Outcome.OK and detail(row).answer == b"you said PING\r\n"
    assert (detail(row).state, detail(row).reason, detail(row).close) == ("open", "syn-ack", None)
    answer_ms = detail(row).answer_ms
    assert answer_ms is not None and answer_ms >= 0 and row.samples[0].rtt_ms is not None
    assert met.outcome is Outcome.OK
    assert unmet.outcome is Outcome.ANSWER_UNEXPECTED and unmet.failure is not None
    assert "expected PONG in them: you said PING" in unmet.failure.detail
    assert detail(unmet).answer == b"you said PING\r\n"


async def test_an_answer_is_searched_further_than_it_is_kept(bench: Bench) -> None:
    async def long(reader, writer) -> None:
        await reader.read(10)
        for piece in (b"x" * 5000, b"need", b"le"):
            writer.write(piece)
            await asyncio.sleep(0.01)

    async with serving(long) as port:
        row = await bench.one(TcpSpec(expecting("needle"), send=b"?"), at(port))
    assert row.outcome is Outcome.OK and detail(row).answer == b"x" * KEPT_ANSWER


async def test_silence_a_close_and_a_reset_after_sending(bench: Bench) -> None:
    async def closing(reader, writer) -> None:
        await reader.read(1)

    async def resetting(reader, writer) -> None:
        await reader.read(1)
        reset(writer)

    async with serving(silent) as port:
        mute = await bench.one(TcpSpec(SHORT, send=b"x"), at(port))
    async with serving(closing) as port:
        closed = await bench.one(TcpSpec(QUICK, send=b"x"), at(port))
    async with serving(resetting) as port:
        gone = await bench.one(TcpSpec(QUICK, send=b"x"), at(port))
    told = [(row.outcome, row.failure.kind, row.failure.stage) for row in (mute, closed, gone) if row.failure]
    assert told == [
        (Outcome.TIMEOUT, FailureKind.TIMEOUT, Stage.RECEIVE),
        (Outcome.ANSWER_UNEXPECTED, FailureKind.CLOSED, Stage.RECEIVE),
        (Outcome.RESET, FailureKind.RESET, Stage.RECEIVE),
    ]
    assert detail(mute).state == "open", "it was reached all the same"


async def test_banner(bench: Bench) -> None:
    async with serving(greeter) as port:
        row = await bench.one(TcpSpec(QUICK, banner=True), at(port))
        expected = await bench.one(TcpSpec(expecting("SSH-2.0")), at(port))
        other = await bench.one(TcpSpec(expecting("SMTP", SHORT)), at(port))
    assert (detail(row).banner, detail(row).banner_protocol) == (b"SSH-2.0-test\r\n", "ssh")
    assert expected.outcome is Outcome.OK and other.outcome is Outcome.ANSWER_UNEXPECTED
    async with serving(silent) as port:
        mute = await bench.one(TcpSpec(SHORT, banner=True), at(port))
    assert mute.outcome is Outcome.OK and detail(mute).banner is None
    assert any("no greeting" in line for line in mute.log)


async def test_an_endless_banner_is_cut(bench: Bench) -> None:
    async def endless(reader, writer) -> None:
        while True:
            writer.write(b"A" * 65536)
            await writer.drain()

    async with serving(endless) as port:
        row = await bench.one(TcpSpec(expecting("B", replace(QUICK, timeout_s=1.0))), at(port))
        half = await bench.one(TcpSpec(QUICK, half_close=True), at(port))
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and detail(row).banner == b"A" * 256
    assert (half.outcome, detail(half).close, detail(half).close_ms) == (Outcome.OK, "open", None)
    assert any(f"{MOST_AFTER_FIN} bytes came after our FIN" in line for line in half.log)


async def resets_at_fin(reader, writer) -> None:
    while await reader.read(100):
        pass
    reset(writer)


@pytest.mark.parametrize(("handler", "word"), [(silent, "fin"), (resets_at_fin, "reset"), (None, "open")])
async def test_what_the_peer_makes_of_our_fin(bench: Bench, handler, word: str) -> None:
    async def stays(reader, writer) -> None:
        await asyncio.Event().wait()

    async with serving(handler or stays) as port:
        row = await bench.one(TcpSpec(SHORT, half_close=True), at(port))
    assert row.outcome is Outcome.OK and detail(row).close == word
    assert (detail(row).close_ms is None) == (word == "open")


async def test_an_answer_that_waits_for_our_fin(bench: Bench) -> None:
    async def counts(reader, writer) -> None:
        writer.write(b"%d bytes" % len(await reader.read()))

    async with serving(counts) as port:
        row = await bench.one(TcpSpec(QUICK, send=b"hello", half_close=True), at(port))
    assert (detail(row).answer, detail(row).close) == (b"5 bytes", "fin")


def held_before_a_free_one() -> socket.socket:
    """A listener whose next port is free, below those that the system gives to others meanwhile."""
    for port in random.sample(range(10_000, 30_000), 200):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            held = stack.enter_context(socket.create_server(("127.0.0.1", port)))
            with socket.socket() as beside:
                beside.bind(("127.0.0.1", port + 1))
            stack.pop_all()
            return held
    raise AssertionError("no two ports side by side")


@pytest.mark.parametrize("talks", [False, True], ids=["engine", "streams"])
async def test_source_ports_take_turns_and_a_taken_one_is_our_own_want(bench: Bench, talks: bool) -> None:
    seen: list[int] = []

    async def noted(reader, writer) -> None:
        seen.append(writer.get_extra_info("peername")[1])
        await silent(reader, writer)

    with held_before_a_free_one() as held:
        taken = held.getsockname()[1]
        span = PortRange(taken, taken + 1)
        options = Options(count=2, interval_s=0.0, timeout_s=2.0, source="127.0.0.1", source_ports=span)
        async with serving(noted) as port:
            row = await bench.one(TcpSpec(options, half_close=talks), at(port))
            for _ in range(500):  # the server hears of it in its own turn
                if seen:
                    break
                await asyncio.sleep(0.01)
    assert [sample.outcome for sample in row.samples] == [Outcome.LOCAL_RESOURCE, Outcome.OK]
    assert seen == [taken + 1] and detail(row).local_port == taken + 1
    failure = row.samples[0].failure
    assert failure is not None and f"source port {taken} is in use" in failure.detail
    assert any(f"source port {taken}" in line for line in row.log) or row.outcome is Outcome.OK


async def test_refused_and_silent_ports_have_state_and_reason(bench: Bench) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
        for spec in (TcpSpec(QUICK, banner=True), TcpSpec(QUICK)):
            row = await bench.one(spec, at(closed))
            assert row.outcome is Outcome.REFUSED
            assert (detail(row).state, detail(row).reason) == ("closed", "conn-refused")
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        for spec in (TcpSpec(SHORT, banner=True), TcpSpec(SHORT)):
            row = await bench.one(spec, at(full.getsockname()[1]))
            assert (detail(row).state, detail(row).reason) == ("filtered", "no-response")


async def test_what_is_cancelled_in_a_talk_leaves_nothing_open(bench: Bench) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with serving(silent) as port:
        await bench.one(TcpSpec(SHORT, send=b"x", half_close=True), at(port))
        before = descriptors()
        for turns in (0, 1, 3, 8, 20):
            running = asyncio.create_task(bench.run(TcpSpec(QUICK, send=b"x"), *[at(port)] * 10))
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        for _ in range(200):  # the server's own ends close in their turn
            if descriptors() <= before:
                break
            await asyncio.sleep(0.01)
        assert descriptors() <= before


async def test_the_run_s_deadline_ends_a_talk(bench: Bench) -> None:
    options = Options(count=50, interval_s=0.1, timeout_s=5.0)
    async with serving(silent) as port:
        began = bench.clock.monotonic()
        row = await bench.one(TcpSpec(options, send=b"x"), at(port), seconds=0.4)
        assert bench.clock.monotonic() - began < 4.0, "not its 5 s"
    assert row.failure is not None and "left of the run" in row.failure.detail
    mute = await bench.run(TcpSpec(options, banner=True), Target("h", "127.0.0.1"))
    assert mute[0].outcome is Outcome.UNSUPPORTED and "needs a port" in mute[0].log[0]


async def test_a_peer_that_is_gone_before_our_fin_has_reset(bench: Bench) -> None:
    async def gone(reader, writer) -> None:
        reset(writer)

    async with serving(gone) as port:
        row = await bench.one(TcpSpec(QUICK, banner=True, half_close=True), at(port))
    assert row.outcome is Outcome.OK and detail(row).close == "reset"
    assert any("no greeting" in line for line in row.log)


@pytest.mark.parametrize("sends", [False, True])
async def test_what_was_found_beyond_what_is_kept_stays_found(bench: Bench, sends: bool) -> None:
    """The judge of finished rows sees the first bytes only."""

    async def long(reader, writer) -> None:
        if sends:
            await reader.read(10)
        writer.write(b"x" * 2000 + b"needle")
        await silent(reader, writer)

    options = expecting("needle")
    async with serving(long) as port:
        row = await bench.one(TcpSpec(options, send=b"?" if sends else None), at(port))
    assert row.outcome is Outcome.OK and Judge(options.expect).judged(row) is row

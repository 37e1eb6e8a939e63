"""Ready-made datagrams over real sockets: forged answers before the right one, silence, and source ports."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from probemesh_agent.engine.loop import Engine
from probemesh_shared.model import Expectation, Options, PortRange, UdpDetail, UdpSpec
from probemesh_shared.words import FailureKind, Kind, Outcome, UdpRequest

from tests.dialogues.test_requests import GOOD, KINDS, ntp_answer
from tests.probes_packet.world import env_of, run_kind, target

TWICE = Options(count=2, interval_s=0.01, timeout_s=1.0)
Answer = Callable[[bytes], list[bytes]]


@asynccontextmanager
async def answering(answers: Answer) -> AsyncIterator[tuple[int, list[tuple[bytes, int]]]]:
    """A port that sends ``answers`` to each datagram, and what came (with its source port)."""
    loop, seen = asyncio.get_running_loop(), []
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)

        def ready() -> None:
            data, peer = sock.recvfrom(65536)
            seen.append((data, peer[1]))
            for answer in answers(data):
                sock.sendto(answer, peer)

        loop.add_reader(sock, ready)
        try:
            yield sock.getsockname()[1], seen
        finally:
            loop.remove_reader(sock)


async def row_of(engine: Engine, port: int, spec: UdpSpec):
    (row,) = await run_kind(Kind.UDP, spec, [target("127.0.0.1", port)], env_of(engine))
    assert isinstance(row.detail, UdpDetail)
    return row, row.detail


@pytest.mark.parametrize("kind", KINDS)
async def test_forged_answers_first_and_the_right_one_last(engine: Engine, kind: UdpRequest) -> None:
    answer = GOOD[kind][0]

    def answers(query: bytes) -> list[bytes]:
        return [b"", b"garbage" * 20, answer(query)[:7], answer(query)]

    async with answering(answers) as (port, seen):
        row, detail = await row_of(engine, port, UdpSpec(TWICE, request=kind))
    assert row.outcome is Outcome.OK and row.failure is None
    assert (detail.state, detail.reason, detail.protocol) == ("open", "udp-response", kind)
    assert detail.answer_text and detail.answer
    assert seen[0][0] != seen[1][0], "each attempt has an id of its own"


async def test_an_answer_to_another_request_is_evidence(engine: Engine) -> None:
    spec = UdpSpec(Options(count=1, timeout_s=0.2), request=UdpRequest.STUN)
    async with answering(lambda query: [b"hello", b"again"]) as (port, _):
        row, detail = await row_of(engine, port, spec)
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None
    assert row.failure.kind is FailureKind.ANSWER_UNEXPECTED and "2 answers came" in row.failure.detail
    assert (detail.state, detail.answer, detail.protocol) == ("open", b"hello", None)


async def test_a_broken_answer_with_our_id_ends_the_wait(engine: Engine) -> None:
    async with answering(lambda query: [ntp_answer(query, 99)]) as (port, _):
        row, detail = await row_of(engine, port, UdpSpec(TWICE, request=UdpRequest.NTP))
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None
    assert "stratum 99" in row.failure.detail and detail.answer_text is None
    assert all(sample.rtt_ms is not None for sample in row.samples)


async def test_an_expectation_holds_for_a_valid_answer_too(engine: Engine) -> None:
    for value, outcome in (("GPS", Outcome.OK), ("PPS", Outcome.ANSWER_UNEXPECTED)):
        options = Options(count=1, timeout_s=1.0, expect=(Expectation("answer", value),))
        async with answering(lambda query: [ntp_answer(query)]) as (port, _):
            row, _ = await row_of(engine, port, UdpSpec(options, request=UdpRequest.NTP))
        assert row.outcome is outcome


async def test_silence_says_what_it_was_silent_to(engine: Engine) -> None:
    once = Options(count=1, timeout_s=0.1)
    async with answering(lambda query: []) as (port, seen):
        valid, detail = await row_of(engine, port, UdpSpec(once, request=UdpRequest.SNMP))
        empty, _ = await row_of(engine, port, UdpSpec(once))
        sized, _ = await row_of(engine, port, UdpSpec(Options(count=1, timeout_s=0.1, size=9)))
    assert (detail.state, detail.reason) == ("open|filtered", "no-response")
    assert valid.failure is not None and "to a valid snmp request: open or filtered" in valid.failure.detail
    assert empty.failure is not None and "no server need answer" in empty.failure.detail
    assert [len(data) for data, _ in seen][1:] == [0, 9] and sized.outcome is Outcome.TIMEOUT


async def test_source_ports_take_turns(engine: Engine) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        taken = held.getsockname()[1]
        options = Options(count=2, interval_s=0.0, timeout_s=1.0, source_ports=PortRange(taken, taken + 1))
        async with answering(lambda query: [query]) as (port, seen):
            row, _ = await row_of(engine, port, UdpSpec(options, b"x"))
    assert [sample.outcome for sample in row.samples] == [Outcome.LOCAL_RESOURCE, Outcome.OK]
    assert [source for _, source in seen] == [taken + 1]


async def test_one_source_port_never_waits_for_two_answers(engine: Engine) -> None:
    """Two sockets on one path would take each other's answers."""
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        only = free.getsockname()[1]
    options = Options(count=2, interval_s=0.0, timeout_s=0.3, source_ports=PortRange(only, only))
    async with answering(lambda query: []) as (port, _):
        row, _ = await row_of(engine, port, UdpSpec(options, b"x"))
    assert sorted(sample.outcome for sample in row.samples) == [Outcome.LOCAL_RESOURCE, Outcome.TIMEOUT]

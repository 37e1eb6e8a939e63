"""The dialogue over real sockets: silence, a close in the middle, one byte at a time, and the end of it."""

import asyncio

import pytest
from probemesh_agent.env import Address, ProbeFailed, ProbeLog
from probemesh_agent.probes.starttls import protocol_for, upgrade
from probemesh_shared.model import TlsDetail, TlsSpec
from probemesh_shared.words import FailureKind, Family, Outcome, Stage, StartTls

from tests.probes_rich.rich_bench import QUICK, Bench, at, bench, serving

__all__ = ["bench"]


async def upgraded(bench: Bench, port: int, protocol: StartTls, seconds: float = 2.0) -> ProbeLog:
    until = bench.clock.monotonic() + seconds
    stream = await bench.network.connect(Address("127.0.0.1", Family.IPV4), port, QUICK, until)
    log = ProbeLog()
    try:
        await upgrade(stream, protocol, until, log)
    finally:
        await stream.close()
    return log


def script(*answers: bytes, byte_by_byte: bool = False, stay: bool = True):
    """Says each answer, and waits for a line of the client between them."""

    async def handler(reader, writer) -> None:
        for index, answer in enumerate(answers):
            if index:
                await reader.readline()
            for piece in [answer[i : i + 1] for i in range(len(answer))] if byte_by_byte else [answer]:
                writer.write(piece)
                await writer.drain()
        while stay and await reader.read(1000):
            pass

    return handler


SMTP = (b"220 mail\r\n", b"250-mail\r\n250 STARTTLS\r\n", b"220 go\r\n")


@pytest.mark.parametrize("byte_by_byte", [False, True])
async def test_a_good_server(bench: Bench, byte_by_byte: bool) -> None:
    async with serving(script(*SMTP, byte_by_byte=byte_by_byte)) as port:
        assert (await upgraded(bench, port, StartTls.SMTP)).lines == []


async def failed(bench: Bench, handler, protocol: StartTls = StartTls.SMTP, seconds: float = 2.0):
    async with serving(handler) as port:
        with pytest.raises(ProbeFailed) as told:
            await upgraded(bench, port, protocol, seconds)
    return told.value.failure


async def test_what_servers_do_wrong(bench: Bench) -> None:
    closed = await failed(bench, script(SMTP[0], stay=False))
    assert closed.kind is FailureKind.CLOSED and "after 10 bytes of smtp" in closed.detail
    injected = await failed(bench, script(*SMTP[:2], b"220 go\r\nRCPT TO:<x>\r\n"))
    assert injected.kind is FailureKind.ANSWER_UNEXPECTED and "RCPT TO" in injected.detail
    silent = await failed(bench, script(b""), seconds=0.2)
    assert silent.kind is FailureKind.TIMEOUT and "speak first" in silent.detail
    nuls = await failed(bench, script(bytes(100_000)))
    assert nuls.kind is FailureKind.BAD_ANSWER


async def test_a_slow_server_is_cut_off_by_the_deadline(bench: Bench) -> None:
    async def dripping(reader, writer) -> None:
        while True:
            writer.write(b"2")
            await asyncio.sleep(0.02)

    failure = await failed(bench, dripping, seconds=0.3)
    assert failure.kind is FailureKind.TIMEOUT


async def test_the_tls_kind_tells_what_stood_in_its_way(bench: Bench) -> None:
    """No handshake is begun over what was injected; a server's no is quoted, and names the protocol."""
    no = script(*SMTP[:2], b"454 not now\r\n")
    injected = script(*SMTP[:2], b"220 go\r\n250 hello\r\n")
    seen = []
    for handler in (no, injected, script(SMTP[0], stay=False), script(*SMTP)):
        async with serving(handler) as port:
            row = await bench.one(TlsSpec(QUICK, starttls=StartTls.SMTP), at(port), seconds=4.0)
        assert row.failure is not None and isinstance(row.detail, TlsDetail)
        assert row.detail.starttls is StartTls.SMTP and row.detail.version is None and row.log
        seen.append((row.outcome, row.failure.kind, row.failure.stage))
    assert seen == [
        (Outcome.ANSWER_UNEXPECTED, FailureKind.ANSWER_UNEXPECTED, Stage.RECEIVE),
        (Outcome.ANSWER_UNEXPECTED, FailureKind.ANSWER_UNEXPECTED, Stage.RECEIVE),
        (Outcome.ANSWER_UNEXPECTED, FailureKind.CLOSED, Stage.RECEIVE),
        (Outcome.TLS_FAILS, FailureKind.TIMEOUT, Stage.TLS),
    ]


async def test_auto_on_an_unknown_port_is_said_before_anything_is_sent(bench: Bench) -> None:
    async with serving(script(*SMTP)) as port:
        row = await bench.one(TlsSpec(QUICK, starttls=StartTls.AUTO), at(port))
    assert row.outcome is Outcome.UNSUPPORTED and row.failure is not None
    assert f"known for port {port}" in row.failure.detail


def test_auto_goes_by_the_port() -> None:
    assert protocol_for(StartTls.AUTO, 587) is StartTls.SMTP
    assert protocol_for(StartTls.IMAP, 587) is StartTls.IMAP
    with pytest.raises(ProbeFailed) as told:
        protocol_for(StartTls.AUTO, 443)
    assert told.value.failure.kind is FailureKind.UNSUPPORTED

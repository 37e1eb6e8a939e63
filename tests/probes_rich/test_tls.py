"""tls: what the handshake came to, also with a bad certificate; failures by code."""

import asyncio
import contextlib
import datetime
import ssl
import subprocess
import sys
from dataclasses import replace

import pytest
import trustme
from probemesh_shared.model import HttpSpec, Measurement, TlsDetail, TlsSpec
from probemesh_shared.words import FailureKind, Outcome, Stage

from tests.probes_rich.rich_bench import QUICK, Bench, at, reset, server_context, serving, silent


async def drained(reader, writer) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        await reader.read()


def by_hand(context: ssl.SSLContext, connections: list[int]):
    """A handshake whose alerts are sent, which asyncio's own servers do not do."""

    async def handler(reader, writer) -> None:
        connections.append(1)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_side=True)
        while data := await reader.read(65536):
            incoming.write(data)
            with contextlib.suppress(ssl.SSLError):
                session.do_handshake()
            writer.write(outgoing.read())

    return handler


def detail(row: Measurement) -> TlsDetail:
    assert isinstance(row.detail, TlsDetail)
    return row.detail


async def test_good_certificate(bench: Bench, trusted: trustme.CA) -> None:
    context = server_context(trusted, "web.example", "127.0.0.1", alpn=("h2",))
    async with serving(drained, context) as port:
        row = await bench.one(TlsSpec(QUICK, server_name="web.example"), at(port))
        by_address = await bench.one(TlsSpec(QUICK), at(port))
    told = detail(row)
    assert row.outcome is Outcome.OK and told.verified is True and told.verify_code is None
    assert (told.version, told.alpn, told.server_name) == ("TLSv1.3", "h2", "web.example")
    assert told.cipher and told.chain and told.chain[0][0] == 0x30, "DER, leaf first"
    assert told.tcp_ms is not None and told.handshake_ms is not None
    assert row.samples[0].rtt_ms == told.handshake_ms
    assert detail(by_address).verified is True and detail(by_address).server_name == "127.0.0.1"


async def test_wrong_name_unknown_authority_and_expiry_are_told(bench: Bench, trusted: trustme.CA) -> None:
    stranger = trustme.CA()
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    cases = (
        (server_context(trusted, "other.example"), 64),  # X509_V_ERR_IP_ADDRESS_MISMATCH
        (server_context(stranger, "127.0.0.1"), 20),  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        (server_context(trusted, "127.0.0.1", not_before=past, not_after=past + datetime.timedelta(1)), 10),
    )
    for context, code in cases:
        async with serving(drained, context) as port:
            row = await bench.one(TlsSpec(QUICK), at(port))
        told = detail(row)
        assert row.outcome is Outcome.OK and row.failure is None
        assert (told.verified, told.verify_code) == (False, code)
        assert told.verify_error and told.version and told.cipher and told.chain
        assert row.log, "a second handshake is told"


async def test_one_extra_handshake_and_no_more(bench: Bench, authority: trustme.CA) -> None:
    connections: list[int] = []
    handler = by_hand(server_context(authority, "other.example"), connections)
    async with serving(handler) as port:
        row = await bench.one(TlsSpec(replace(QUICK, count=3)), at(port))
    assert [one.outcome for one in row.samples] == [Outcome.OK] * 3
    assert len(connections) == 4


async def test_old_version_is_reported_and_not_judged(bench: Bench, trusted: trustme.CA) -> None:
    context = server_context(trusted, "127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(by_hand(context, [])) as port:
        row = await bench.one(TlsSpec(QUICK), at(port))
    told = detail(row)
    assert row.outcome is Outcome.OK, row.log
    assert told.version == "TLSv1.1" and told.verified is None and told.chain


ALERTS = ((40, "handshake_failure"), (112, "unrecognized_name"), (120, "no_application_protocol"))


@pytest.mark.parametrize(("number", "name"), ALERTS)
async def test_alert(bench: Bench, number: int, name: str) -> None:
    async def handler(reader, writer) -> None:
        await reader.read(4096)
        writer.write(b"\x15\x03\x03\x00\x02\x02" + bytes([number]))
        await writer.drain()
        await reader.read()

    async with serving(handler) as port:
        row = await bench.one(TlsSpec(QUICK), at(port))
    assert row.outcome is Outcome.TLS_FAILS and row.failure is not None
    assert (row.failure.stage, row.failure.kind) == (Stage.TLS, FailureKind.TLS_ALERT)
    assert detail(row).alert == name and name in row.failure.detail and row.log


async def test_client_certificate_demanded_in_the_handshake(bench: Bench, trusted: trustme.CA) -> None:
    context = server_context(trusted, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(by_hand(context, [])) as port:
        row = await bench.one(TlsSpec(QUICK), at(port))
    assert row.outcome is Outcome.TLS_FAILS and row.failure is not None
    assert row.failure.kind is FailureKind.TLS_ALERT


GARBAGE = (
    b"SSH-2.0-x\r\n",
    b"HTTP/1.1 400 Bad\r\n\r\n",
    b"\x00" * 64,
    b"\x1b[31m\x00\xff",
    b"\x16\x03\x03\xff\xff" * 9,
)


@pytest.mark.parametrize("said", GARBAGE)
async def test_garbage_is_no_tls(bench: Bench, said: bytes) -> None:
    async def handler(reader, writer) -> None:
        await reader.read(4096)
        writer.write(said)
        await writer.drain()
        await reader.read()

    async with serving(handler) as port:
        row = await bench.one(TlsSpec(QUICK), at(port))
    assert row.outcome is Outcome.TLS_FAILS and row.failure is not None
    assert row.failure.kind in (FailureKind.TLS_PROTOCOL, FailureKind.TLS_ALERT)
    assert "\x1b" not in row.failure.detail


async def test_closed_reset_and_silent_handshakes_are_told_apart(bench: Bench) -> None:
    async def closing(reader, writer) -> None:
        await reader.read(4096)

    async def resetting(reader, writer) -> None:
        await reader.read(4096)
        reset(writer)

    for handler, kind in (
        (closing, FailureKind.CLOSED),
        (resetting, FailureKind.RESET),
        (silent, FailureKind.TIMEOUT),
    ):
        async with serving(handler) as port:
            row = await bench.one(TlsSpec(replace(QUICK, timeout_s=0.3)), at(port))
        assert row.outcome is Outcome.TLS_FAILS and row.failure is not None
        assert (row.failure.stage, row.failure.kind) == (Stage.TLS, kind)
        assert row.samples[0].rtt_ms is None


async def test_drip_fed_handshake_ends_in_time(bench: Bench) -> None:
    async def handler(reader, writer) -> None:
        writer.write(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
        while True:
            writer.write(b"\x03")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(handler) as port:
        began = bench.clock.monotonic()
        row = await bench.one(TlsSpec(replace(QUICK, timeout_s=0.4)), at(port))
        assert bench.clock.monotonic() - began < 1.5
    assert row.outcome is Outcome.TLS_FAILS and row.failure is not None


async def test_closed_port_is_no_tls_failure(bench: Bench) -> None:
    async with serving(silent) as port:
        pass
    row = await bench.one(TlsSpec(QUICK), at(port))
    assert row.outcome is Outcome.REFUSED and row.failure is not None and row.failure.stage is Stage.CONNECT


def test_cryptography_stays_out() -> None:
    program = (
        "import sys; from probemesh_agent.probes.registry import Registry;"
        "from probemesh_shared.words import Kind;"
        "r = Registry(); assert not {'dns.message', 'h11'} & set(sys.modules);"
        "[r[k] for k in (Kind.DNS, Kind.TLS, Kind.HTTP)]; print('cryptography' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "False"


async def test_silence_is_told_by_the_timeout_that_was_asked_for(bench: Bench) -> None:
    async with serving(silent) as port:
        options = replace(QUICK, timeout_s=0.25)
        rows = [
            await bench.one(spec, at(port, secure=True)) for spec in (TlsSpec(options), HttpSpec(options))
        ]
        cut = await bench.one(TlsSpec(replace(QUICK, timeout_s=5.0)), at(port), seconds=0.3)
    for row in rows:
        assert row.failure is not None and row.failure.kind is FailureKind.TIMEOUT
        assert row.failure.detail == "no answer within 0.25 s"
        assert row.samples[0].failure == row.failure
    assert cut.failure is not None
    assert cut.failure.detail == "no answer within the 0.3 s that were left of the run"

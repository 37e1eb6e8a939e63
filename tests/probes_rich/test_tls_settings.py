"""tls: what a spec asks of the handshake, where OpenSSL has to be asked for it; and over STARTTLS."""

import asyncio
import contextlib
import os
import ssl
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from probemesh_agent.env import ProbeFailed
from probemesh_agent.probes.contexts import Contexts, TlsSettings
from probemesh_shared.model import Measurement, TlsDetail, TlsSpec
from probemesh_shared.words import FailureKind, Outcome, Stage, StartTls

from tests.probes_rich.rich_bench import QUICK, Bench, at, serving, silent
from tests.servers.tls_pki import make
from tests.servers.tls_servers import tls_openssl, tls_options

ROOT = make("Root", authority=True)
LEAF = ROOT.issue("web.example", "web.example", rsa_bits=2048)
CLIENT = ROOT.issue("client")
SPEC = TlsSpec(QUICK, server_name="web.example", ca=ROOT.pem)
OPENSSL = pytest.mark.tool("openssl")


def detail(row: Measurement) -> TlsDetail:
    assert isinstance(row.detail, TlsDetail), row.failure
    return row.detail


@OPENSSL
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1.1"])
async def test_an_old_version_is_judged_where_it_is_asked_for(
    bench: Bench, tmp_path: Path, version: str
) -> None:
    options = ("-cipher", "ALL:@SECLEVEL=0", "-min_protocol", "TLSv1", "-max_protocol", "TLSv1.1")
    with tls_openssl(tmp_path, *tls_options(LEAF, tmp_path), *options) as port:
        asked = detail(await bench.one(replace(SPEC, min_version=version, max_version=version), at(port)))
        unasked = detail(await bench.one(SPEC, at(port)))
    assert (asked.version, asked.verified) == (version, True)
    assert (unasked.version, unasked.verified) == ("TLSv1.1", None), "told, and not judged"


@OPENSSL
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_who_brings_no_certificate_or_a_wrong_one_is_told_so(
    bench: Bench, tmp_path: Path, version: str
) -> None:
    (tmp_path / "root.crt").write_bytes(ROOT.pem)
    demand = ("-Verify", "3", "-verify_return_error", "-CAfile", str(tmp_path / "root.crt"))
    stranger = make("client")
    spec = replace(SPEC, min_version=version, max_version=version)
    with tls_openssl(tmp_path, *tls_options(LEAF, tmp_path), *demand) as port:
        none = await bench.one(spec, at(port))
        wrong = await bench.one(
            replace(spec, client_cert=stranger.pem, client_key=stranger.key_pem), at(port)
        )
        good = await bench.one(replace(spec, client_cert=CLIENT.pem, client_key=CLIENT.key_pem), at(port))
    alert = "certificate_required" if version == "TLSv1.3" else "handshake_failure"
    for row, name, words in ((none, alert, "was given none"), (wrong, "unknown_ca", "did not take the one")):
        assert row.outcome is Outcome.TLS_FAILS and row.failure is not None
        assert (row.failure.stage, row.failure.kind) == (Stage.TLS, FailureKind.TLS_ALERT)
        assert detail(row).alert == name and words in row.failure.detail
        assert detail(row).client_certificate_requested is True
    assert good.outcome is Outcome.OK and detail(good).client_certificate_authorities == ("CN=Root",)


@OPENSSL
async def test_starttls_comes_before_every_hello_too(bench: Bench, tmp_path: Path) -> None:
    """A server that turns to TLS when PostgreSQL's SSLRequest asks for it; behind it, OpenSSL."""
    asked: list[bytes] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    options = ("-cipher", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384", "-tls1_2")
    with tls_openssl(tmp_path, *tls_options(LEAF, tmp_path), *options) as behind:

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readexactly(8))
            writer.write(b"S")
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", behind)
            try:
                await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))
            finally:
                inner_writer.close()

        async with serving(handler) as port:
            spec = replace(SPEC, starttls=StartTls.POSTGRES, enumerate=True)
            row = await bench.one(spec, at(port), seconds=20)
    told = detail(row)
    assert row.outcome is Outcome.OK and told.verified is True and told.ocsp_staple == "none"
    assert told.enumeration is not None and told.enumeration.complete
    assert [len(one.ciphers) for one in told.enumeration.versions] == [0, 2, 0, 0, 0]
    assert len(asked) == told.enumeration.connections + 1 and len(set(asked)) == 1


# --- what this host's OpenSSL makes of it ------------------------------------------------------------------


def locked() -> bytes:
    return CLIENT.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (TlsSettings(ca=b"no certificate"), "--ca"),
        (TlsSettings(ca=b"\xff\xfe"), "--ca"),
        (TlsSettings(ciphers="NO-SUCH"), "NO-SUCH"),
        (TlsSettings(min_version="TLSv9"), "TLSv9"),
        (TlsSettings(max_version=""), "cannot be offered"),
        (TlsSettings(client_cert=CLIENT.pem, client_key=LEAF.key_pem), "do not belong together"),
        (TlsSettings(client_cert=CLIENT.pem, client_key=locked()), "cannot be read"),
        (TlsSettings(client_cert=CLIENT.pem), "cannot be read"),
        (TlsSettings(client_cert=b"junk", client_key=b"junk"), "cannot be read"),
    ],
)
async def test_what_openssl_does_not_take_is_unsupported(
    bench: Bench, settings: TlsSettings, words: str
) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(ProbeFailed, match=words) as caught:
        Contexts((), settings).get(True)
    assert caught.value.failure.kind is FailureKind.UNSUPPORTED
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    spec = TlsSpec(QUICK, **{name: getattr(settings, name) for name in TlsSettings.__dataclass_fields__})
    async with serving(silent) as port:
        (row,) = await bench.run(spec, at(port))
    assert row.outcome is Outcome.UNSUPPORTED and row.samples == ()


@pytest.mark.parametrize("alpn", [("",), ("x" * 256,), ("ü",)])
async def test_protocols_that_cannot_be_offered_are_unsupported(bench: Bench, alpn: tuple[str, ...]) -> None:
    async with serving(silent) as port:
        row = await bench.one(TlsSpec(QUICK, alpn=alpn), at(port))
    assert row.outcome is Outcome.UNSUPPORTED


def test_the_key_touches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self: ssl.SSLContext, certfile: str, *more, **named) -> None:
        seen.append(os.readlink(certfile))  # noqa: PTH115
        load(self, certfile, *more, **named)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    context = Contexts((), TlsSettings(client_cert=CLIENT.pem, client_key=CLIENT.key_pem)).get(True)
    assert context is not None
    assert len(seen) == 1 and seen[0].startswith("/memfd:"), seen
    assert list(tmp_path.iterdir()) == []


def test_what_has_settings_of_its_own_is_shared_with_nobody() -> None:
    mine = TlsSettings(client_cert=CLIENT.pem, client_key=CLIENT.key_pem)
    assert Contexts((), mine).get(True) is not Contexts((), mine).get(True)
    assert Contexts(()).get(True) is Contexts(()).get(True)
    assert "PRIVATE" not in repr(mine)

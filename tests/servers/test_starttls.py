"""--starttls against the servers of Debian, beside ``openssl s_client -starttls`` on the same ports."""

import asyncio
import hashlib
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import trustme
from probemesh_shared.model import TlsDetail, TlsSpec
from probemesh_shared.words import FailureKind, Outcome, StartTls

from tests.probes_rich.rich_bench import QUICK, Bench, at
from tests.servers import mail
from tests.servers.mail import Pair

#: OpenSSL's own word for the protocol, where it has one.
OPENSSL = {StartTls.SMTP: "smtp", StartTls.IMAP: "imap", StartTls.POP3: "pop3", StartTls.FTP: "ftp"}
OPENSSL |= {StartTls.LDAP: "ldap", StartTls.POSTGRES: "postgres", StartTls.MYSQL: "mysql"}


def s_client(port: int, protocol: str) -> tuple[str, str, str]:
    """``(version, cipher, SHA-256 of the leaf)`` as openssl says."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-starttls", protocol, "-showcerts"]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=20, check=False)
    found = re.search(r"New, (\S+), Cipher is (\S+)", done.stdout)
    assert found, done.stdout + done.stderr
    version = re.search(r"Protocol\s*: (\S+)", done.stdout)
    pem = done.stdout[done.stdout.index("-----BEGIN") :].split("-----END CERTIFICATE-----")[0]
    der = ssl.PEM_cert_to_DER_cert(pem + "-----END CERTIFICATE-----\n")
    return version[1] if version else found[1], found[2], hashlib.sha256(der).hexdigest()


async def agrees(bench: Bench, port: int, protocol: StartTls) -> None:
    """The handshake is judged good, and openssl sees the same version, cipher and leaf."""
    row = await bench.one(TlsSpec(QUICK, starttls=protocol), at(port))
    detail = row.detail
    assert row.outcome is Outcome.OK and isinstance(detail, TlsDetail), row
    assert detail.verified is True and detail.starttls is protocol
    theirs = await asyncio.to_thread(s_client, port, OPENSSL[protocol])
    assert (detail.version, detail.cipher, hashlib.sha256(detail.chain[0]).hexdigest()) == theirs


Server = Callable[[Pair], AbstractContextManager[int]]
needs_root = pytest.mark.netns  # servers that drop to users of their own


@pytest.mark.tool("openssl")
@needs_root
@pytest.mark.parametrize(
    ("protocol", "server"),
    [
        pytest.param(StartTls.SMTP, mail.smtp, marks=pytest.mark.tool("exim4")),
        pytest.param(StartTls.FTP, mail.ftp, marks=pytest.mark.tool("vsftpd")),
        pytest.param(StartTls.LDAP, mail.ldap, marks=pytest.mark.tool("slapd")),
        pytest.param(StartTls.POSTGRES, mail.postgres, marks=pytest.mark.tool("pg_ctlcluster")),
        pytest.param(StartTls.MYSQL, mail.mysql, marks=pytest.mark.tool("mariadbd")),
    ],
    ids=lambda value: value.value if isinstance(value, StartTls) else "",
)
async def test_servers(
    bench: Bench, trusted: trustme.CA, pair: Pair, protocol: StartTls, server: Server
) -> None:
    with server(pair) as port:
        await agrees(bench, port, protocol)


@pytest.fixture
def dovecot(pair: Pair) -> Iterator[tuple[int, int]]:
    with mail.dovecot(pair) as ports:
        yield ports


@pytest.mark.tool("openssl")
@pytest.mark.tool("dovecot")
@needs_root
async def test_dovecot(bench: Bench, trusted: trustme.CA, dovecot: tuple[int, int]) -> None:
    imap, pop3 = dovecot
    await agrees(bench, imap, StartTls.IMAP)
    await agrees(bench, pop3, StartTls.POP3)
    row = await bench.one(TlsSpec(QUICK, starttls=StartTls.SMTP), at(imap))
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None
    assert row.failure.kind is FailureKind.BAD_ANSWER and row.log

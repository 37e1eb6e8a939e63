"""tls --enumerate: what OpenSSL, set to single versions and ciphers, takes; and the same by nmap's script."""

import asyncio
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from probemesh_agent.wire.tlsciphers import CHUNK, SSL3, TLS10, TLS12, TLS13, suites
from probemesh_shared.model import TlsDetail, TlsEnumeration, TlsSpec, TlsVersionTaken
from probemesh_shared.words import Outcome

from tests.probes_rich.rich_bench import QUICK, Bench, at, reset, serving, silent
from tests.servers.tls_pki import Made, make
from tests.servers.tls_servers import tls_openssl, tls_options

SPEC = TlsSpec(QUICK, server_name="web.example", enumerate=True)
OPENSSL = pytest.mark.tool("openssl")


@pytest.fixture(scope="module")
def leaf() -> Made:
    return make("web.example", "web.example", rsa_bits=2048)


async def found(bench: Bench, port: int, spec: TlsSpec = SPEC, seconds: float = 20.0) -> TlsEnumeration:
    row = await bench.one(spec, at(port), seconds=seconds)
    assert isinstance(row.detail, TlsDetail), row.failure
    assert row.detail.enumeration is not None, row.log
    return row.detail.enumeration


def taken(told: TlsEnumeration) -> dict[str, tuple[str, ...]]:
    return {one.version: one.ciphers for one in told.versions if one.accepted}


def of(told: TlsEnumeration, version: str) -> TlsVersionTaken:
    return next(one for one in told.versions if one.version == version)


@OPENSSL
async def test_old_versions_and_the_servers_order(bench: Bench, leaf: Made, tmp_path: Path) -> None:
    ciphers = "AES256-SHA:AES128-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0"
    options = ("-cipher", ciphers, "-serverpref", "-min_protocol", "TLSv1", "-max_protocol", "TLSv1.2")
    with tls_openssl(tmp_path, *tls_options(leaf, tmp_path), *options) as port:
        told = await found(bench, port)
    order = (
        "TLS_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    )
    assert told.complete
    assert taken(told) == dict.fromkeys(("TLSv1.2", "TLSv1.1", "TLSv1"), order)
    assert {of(told, version).preference for version in taken(told)} == {"server"}
    assert of(told, "TLSv1.3").reason == "it answers with the alert protocol_version"
    assert of(told, "SSLv3").accepted is False and of(told, "SSLv3").reason


@OPENSSL
async def test_the_clients_order_and_single_ciphers(bench: Bench, leaf: Made, tmp_path: Path) -> None:
    pair = ("-cipher", "AES256-SHA:AES128-SHA", "-tls1_2")
    with tls_openssl(tmp_path, *tls_options(leaf, tmp_path), *pair) as port:
        told = await found(bench, port)
    assert of(told, "TLSv1.2").preference == "client"
    assert len(of(told, "TLSv1.2").ciphers) == 2
    single = ("-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "-tls1_3")
    with tls_openssl(tmp_path, *tls_options(leaf, tmp_path), *single) as port:
        told = await found(bench, port)
    assert taken(told) == {"TLSv1.3": ("TLS_CHACHA20_POLY1305_SHA256",)}
    assert of(told, "TLSv1.3").preference is None
    assert of(told, "TLSv1.2").reason == "it answers with the alert protocol_version"


@OPENSSL
async def test_what_no_handshake_completes_with_is_found_too(
    bench: Bench, leaf: Made, tmp_path: Path
) -> None:
    """A server that wants a client certificate takes ciphers all the same, and so does one of NULL only."""
    options = (*tls_options(leaf, tmp_path), "-tls1_2", "-cipher", "NULL-SHA256:@SECLEVEL=0", "-Verify", "1")
    with tls_openssl(tmp_path, *options) as port:
        row = await bench.one(SPEC, at(port), seconds=20)
    assert row.outcome is Outcome.TLS_FAILS and isinstance(row.detail, TlsDetail)
    assert row.detail.enumeration is not None
    assert taken(row.detail.enumeration) == {"TLSv1.2": ("TLS_RSA_WITH_NULL_SHA256",)}


@OPENSSL
async def test_many_hellos_come_to_one_order(bench: Bench, leaf: Made, tmp_path: Path) -> None:
    """ARIA stands in the second hello; the server prefers it to what stands in the first."""
    names = ("ECDHE-ARIA256-GCM-SHA384", "ECDHE-RSA-AES128-SHA", "AES256-SHA")
    options = ("-tls1_2", "-serverpref", "-cipher", f"{':'.join(names)}:@SECLEVEL=0")
    with tls_openssl(tmp_path, *tls_options(leaf, tmp_path), *options) as port:
        told = await found(bench, port)
    assert of(told, "TLSv1.2").ciphers == (
        "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        "TLS_RSA_WITH_AES_256_CBC_SHA",
    )


@OPENSSL
@pytest.mark.tool("nmap")
async def test_it_finds_what_nmap_finds(bench: Bench, leaf: Made, tmp_path: Path) -> None:
    options = ("-cipher", "ALL:@SECLEVEL=0", "-min_protocol", "TLSv1", "-serverpref")
    with tls_openssl(tmp_path, *tls_options(leaf, tmp_path), *options) as port:
        ours = taken(await found(bench, port, seconds=40))
        theirs = await asyncio.to_thread(_by_nmap, port)
    assert {version: set(ciphers) for version, ciphers in ours.items()} == {
        version: set(ciphers) for version, ciphers in theirs.items()
    }
    assert list(ours["TLSv1.1"]) == theirs["TLSv1.1"], "in the same order"


def _by_nmap(port: int) -> dict[str, list[str]]:
    command = ["nmap", "-Pn", "-n", "-p", str(port), "--script", "+ssl-enum-ciphers", "-oX", "-", "127.0.0.1"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    said: dict[str, list[str]] = {}
    for table in ElementTree.fromstring(done.stdout).iterfind(".//script/table"):
        names = [one.text or "" for one in table.iterfind("table[@key='ciphers']/table/elem[@key='name']")]
        said[table.get("key", "").replace("TLSv1.0", "TLSv1")] = [
            name.replace("TLS_AKE_WITH", "TLS") for name in names
        ]
    return said


async def test_the_deadline_is_kept_and_what_is_missing_said(bench: Bench) -> None:
    async with serving(silent) as port:
        began = bench.clock.monotonic()
        told = await found(bench, port, replace(SPEC, options=replace(QUICK, timeout_s=0.3)), seconds=1.0)
        assert bench.clock.monotonic() - began < 4
    assert not told.complete
    assert {one.accepted for one in told.versions} == {None}
    assert told.versions[-1].reason == "the run's deadline came first"
    assert told.versions[0].reason == "no answer within 0.3 s"


async def test_resets_are_refusals_and_cost_no_more_than_that(bench: Bench) -> None:
    connections: list[int] = []

    async def resetting(reader, writer) -> None:
        connections.append(1)
        await reader.read(4096)
        reset(writer)

    async with serving(resetting) as port:
        told = await found(bench, port)
    assert told.complete and {one.accepted for one in told.versions} == {False}
    most = sum(-(-len(suites(version)) // CHUNK) for version in (TLS13, TLS12, 0x0302, TLS10, SSL3))
    assert told.connections <= most + 1
    assert len(connections) <= told.connections + 2, "the handshake, and no more"


async def test_a_server_that_takes_what_was_not_offered_is_not_asked_for_ever(bench: Bench) -> None:
    hello = b"\x02\x00\x00\x26\x03\x03" + bytes(32) + b"\x00\xc0\x2f\x00"

    async def handler(reader, writer) -> None:
        await reader.read(4096)
        writer.write(b"\x16\x03\x03" + len(hello).to_bytes(2, "big") + hello)
        await writer.drain()
        await reader.read()

    async with serving(handler) as port:
        told = await found(bench, port, replace(SPEC, options=replace(QUICK, timeout_s=0.2)))
    assert of(told, "TLSv1.3").reason == "it answers with TLSv1.2"
    assert taken(told) == {"TLSv1.2": ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)}
    assert told.connections < 20


async def test_a_server_that_takes_no_more_connections_ends_it(bench: Bench) -> None:
    """As one does that limits how many a client may open: what was found so far is told."""
    connections: list[int] = []

    async def handler(reader, writer) -> None:
        connections.append(1)
        await reader.read(4096)
        if len(connections) == 4:
            server.close()
        writer.close()

    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        told = await found(bench, server.sockets[0].getsockname()[1])
    assert not told.complete
    reasons = [one.reason or "" for one in told.versions]
    assert reasons[-1].startswith("connection 4 of these failed: connection refused")
    assert of(told, "TLSv1.3").complete and not of(told, "TLSv1").complete


async def test_it_keeps_to_this_agents_share_of_the_address(bench: Bench) -> None:
    """By the same slots as the samples: loopback alone is exempt, so the turn itself is counted."""
    from probemesh_agent.env import ProbeLog
    from probemesh_agent.probes.attempts import Unit
    from probemesh_agent.probes.contexts import Contexts
    from probemesh_agent.probes.handshake import Handshaker
    from probemesh_agent.probes.tlsask import Asker
    from probemesh_agent.probes.tlsenum import enumerate_all

    turns = iter([True] * 4 + [False] * 9)
    env = bench.env()

    async def turn() -> bool:
        return next(turns)

    async def closing(reader, writer) -> None:
        await reader.read(4096)

    async with serving(closing) as port:
        target = at(port)
        resolved = await bench.network.resolve(target, QUICK, env.deadline)
        unit = Unit(0, target, target.text, resolved.addresses[0], port)
        asker = Asker(Handshaker(unit, QUICK, env, Contexts(()), ProbeLog(), "web.example"), env, turn)
        told = await enumerate_all(asker)
    assert told.connections == 4 and not told.complete
    assert of(told, "TLSv1.3").complete and not of(told, "TLSv1").complete

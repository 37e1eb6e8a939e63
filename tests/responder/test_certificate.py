"""The certificate that a service on this host presents to the host itself."""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme
from probemesh_agent.env import ProbeEnv
from probemesh_agent.flow import synoptions
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.watch import WatchProbe
from probemesh_agent.responder.certificate import own_certificate
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import PortRange, Target, WatchDetail, WatchSpec

HOST = "127.0.0.1"


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


@pytest.fixture
def issued() -> trustme.LeafCert:
    return trustme.CA().issue_cert("db.internal")


@pytest.fixture
async def tls_port(issued: trustme.LeafCert) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    async with await asyncio.start_server(_hang_up, HOST, 0, ssl=context) as server:
        yield await _port(server)


async def test_the_leaf_comes_as_it_is_whoever_issued_it(tls_port: int, issued: trustme.LeafCert) -> None:
    assert await own_certificate(HOST, tls_port) == ssl.PEM_cert_to_DER_cert(
        issued.cert_chain_pems[0].bytes().decode()
    )


async def test_what_speaks_no_tls_has_none() -> None:
    async with await asyncio.start_server(_hang_up, HOST, 0) as server:
        assert await own_certificate(HOST, await _port(server)) is None
        port = await _port(server)
    assert await own_certificate(HOST, port) is None, "nothing listens any more"


async def test_a_watch_does_not_dial_loopback_for_it(tls_port: int) -> None:
    clock = SystemClock()
    network = SystemNetwork(clock, Policy.shipped())
    env = ProbeEnv(network, clock, clock.monotonic() + 30)
    target = Target(f"{HOST}:{tls_port}", HOST, (PortRange(tls_port, tls_port),))
    rows = WatchProbe().run(WatchSpec(token=secrets.token_bytes(16), certificate=True), (target,), env)
    try:
        (row,) = await anext(rows)
        assert isinstance(row.detail, WatchDetail) and row.detail.certificate is None
    finally:
        await rows.aclose()
        network.close()


def test_options_of_a_syn_are_those_that_the_kernel_is_set_to(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(synoptions, "_FOLDER", tmp_path)
    assert synoptions.syn_options() == ()
    for name, value in (("tcp_sack", "1"), ("tcp_timestamps", "0"), ("tcp_window_scaling", "1")):
        (tmp_path / name).write_text(value)
    assert synoptions.syn_options() == ("sack", "wscale")

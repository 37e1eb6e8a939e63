"""Mutual TLS with certificates that are wrong in one way each, and what the user is told then."""

import asyncio
import contextlib
import dataclasses
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from probemesh_shared.errors import CertificateRefused, NotAllowed, Unreachable
from probemesh_shared.identity.files import Identity, save_identity
from probemesh_shared.identity.names import agent_dns
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.explain import explain
from probemesh_shared.words import Role

from tests.rpc.conftest import CONTROLLER, MESH, issue

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=30)
TOMORROW = NOW + timedelta(days=1)


async def test_the_right_ones_meet(served, admin) -> None:
    assert (await served.status(admin)).mesh == MESH


async def test_our_certificate_has_expired(served, ca) -> None:
    with pytest.raises(CertificateRefused, match=r"our own certificate \(admin ann\) expired"):
        await served.status(issue(ca, Role.ADMIN, "ann", "ann", LONG_AGO))


async def test_a_token_that_is_over_is_no_certificate_of_ours(served, ca) -> None:
    with pytest.raises(
        NotAllowed, match=r"^this token expired at \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$"
    ) as caught:
        await served.status(issue(ca, Role.JOIN, "t", "t", LONG_AGO))
    assert "new token" in (caught.value.hint or "")


async def test_our_certificate_is_not_valid_yet(served, ca) -> None:
    with pytest.raises(CertificateRefused, match="our own certificate is not valid before"):
        await served.status(issue(ca, Role.ADMIN, "ann", "ann", TOMORROW))


@pytest.mark.parametrize("start", [LONG_AGO, TOMORROW], ids=["expired", "not-yet-valid"])
async def test_the_server_itself_refuses_such_dates(
    served, ca, start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without our own look at the dates first: nobody is let in who only lies about the clock."""
    monkeypatch.setattr("probemesh_shared.rpc.explain._own_dates", lambda *_: None)
    with pytest.raises(CertificateRefused, match="refuses our certificate"):
        await served.status(issue(ca, Role.ADMIN, "ann", "ann", start))


async def test_their_certificate_is_of_another_ca(serve, other_ca, admin) -> None:
    served = await serve(issue(other_ca, Role.CONTROLLER, "controller", "controller"))
    with pytest.raises(CertificateRefused, match="is not from this mesh's CA"):
        await served.status(admin)


async def test_our_certificate_is_of_another_ca(served, ca, other_ca) -> None:
    stranger = dataclasses.replace(issue(other_ca, Role.ADMIN), ca_pem=ca.certificate_pem)
    with pytest.raises(CertificateRefused, match="refuses our certificate"):
        await served.status(stranger)


@pytest.mark.parametrize(
    ("start", "words"),
    [(LONG_AGO, "has expired"), (TOMORROW, "is not valid yet")],
    ids=["expired", "not-yet-valid"],
)
async def test_their_dates(serve, ca, admin, start, words: str) -> None:
    served = await serve(issue(ca, Role.CONTROLLER, "controller", "controller", start))
    with pytest.raises(CertificateRefused, match=f"presents {words}"):
        await served.status(admin)


async def test_an_agent_that_poses_as_the_controller(serve, agent, admin) -> None:
    served = await serve(agent)
    with pytest.raises(CertificateRefused, match=f"another role or name; expected was {CONTROLLER}"):
        await served.status(admin)


async def test_an_agent_that_poses_as_another_agent(serve, agent, admin) -> None:
    served = await serve(agent)
    with pytest.raises(CertificateRefused, match="another role or name"):
        await served.status(admin, agent_dns("tokyo-1", MESH))


async def test_an_operator_cannot_serve(serve, admin, agent) -> None:
    served = await serve(admin)
    with pytest.raises(CertificateRefused):
        await served.status(agent)


async def test_no_certificate_no_entry(served, admin) -> None:
    """The handshake of TLS 1.3 is over before the server looks; the first read tells."""

    def bare() -> bytes:
        context = ssl.create_default_context(cadata=admin.ca_pem.decode())
        context.set_alpn_protocols(["h2"])
        host, port = served.address.split(":")
        with (
            socket.create_connection((host, int(port)), 5) as plain,
            context.wrap_socket(plain, server_hostname=CONTROLLER) as secure,
        ):
            secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            return secure.recv(100)

    answer = b""
    with contextlib.suppress(ssl.SSLError, ConnectionResetError):
        answer = await asyncio.to_thread(bare)
    assert answer == b""


async def test_plaintext_is_not_spoken(served) -> None:
    host, port = served.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    try:
        answer = await reader.read(1000)
    except ConnectionResetError:
        answer = b""
    assert b"\0\0\0\4\1" not in answer  # no SETTINGS acknowledged
    writer.close()


@pytest.mark.tool("openssl")
@pytest.mark.parametrize(("version", "completes"), [("-tls1_2", False), ("-tls1_3", True)])
async def test_tls_1_3_only(served, admin, tmp_path: Path, version: str, completes: bool) -> None:
    save_identity(tmp_path, admin)
    child = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", version, "-connect", served.address, "-servername", CONTROLLER),
        *("-cert", tmp_path / "cert.pem", "-key", tmp_path / "key.pem", "-CAfile", tmp_path / "ca.pem"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    assert (b"Cipher is (NONE)" not in output) is completes
    assert (b"New, TLSv1.3" in output) is completes


def test_grpc_that_came_first_is_refused() -> None:
    """C-core would have read its environment already, and would speak TLS 1.2."""
    import subprocess
    import sys

    code = "import grpc\nimport probemesh_shared.rpc.server"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "grpc was imported before its environment was set" in ended.stderr


# --- what is away, rather than refused ---------------------------------------------------------------------


async def test_nobody_listens(admin) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        error = await explain(address, admin, CONTROLLER)
    assert isinstance(error, Unreachable)
    assert str(error) == f"{address} cannot be reached: connection refused"
    assert error.hint is not None


async def test_a_name_that_does_not_exist(admin) -> None:
    error = await explain("nowhere.invalid:7400", admin, CONTROLLER)
    assert isinstance(error, Unreachable)
    assert "its name cannot be resolved" in str(error)


async def test_silence(admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener whose backlog is full answers no SYN; one that accepts and says nothing is as silent."""
    monkeypatch.setattr("probemesh_shared.rpc.explain.HANDSHAKE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        error = await explain(f"127.0.0.1:{mute.getsockname()[1]}", admin, CONTROLLER)
    assert isinstance(error, Unreachable)
    assert "no answer in time" in str(error)


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_something_that_is_not_tls(admin, greeting: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        error = await explain(address, admin, CONTROLLER)
    assert isinstance(error, Unreachable)
    assert "TLS" in str(error)


async def test_it_answers_again(served, admin) -> None:
    error = await explain(served.address, admin, CONTROLLER)
    assert isinstance(error, Unreachable)
    assert "answers now" in str(error)


@contextlib.asynccontextmanager
async def curt(controller: Identity, folder: Path, patience: list[float]) -> AsyncIterator[str]:
    """A server that ends its first connections after the handshake, each after so many seconds, without a
    word; then it is a good one. Its address."""
    save_identity(folder, controller)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if patience:
            await asyncio.sleep(patience.pop(0))
        else:
            writer.write(b"\0\0\0\4\0\0\0\0\0")
            await reader.read(100)
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_who_is_killed_in_our_handshake_refuses_nobody(controller, admin, tmp_path: Path) -> None:
    """grpc refuses by closing, too: an agent that takes the one for the other stays away for minutes."""
    async with curt(controller, tmp_path, [0.0]) as address:
        error = await explain(address, admin, CONTROLLER)
    assert isinstance(error, Unreachable), error
    assert "answers now" in str(error)


async def test_who_closes_whenever_we_come_refuses_us(controller, admin, tmp_path: Path) -> None:
    async with curt(controller, tmp_path, [0.0, 0.0]) as address:
        error = await explain(address, admin, CONTROLLER)
    assert isinstance(error, CertificateRefused), error


async def test_who_has_no_time_for_us_refuses_nobody(
    controller, admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with its hands full ends handshakes that take too long."""
    monkeypatch.setattr("probemesh_shared.identity.tlsprobe._REFUSED_WITHIN_S", 0.1)
    async with curt(controller, tmp_path, [0.2, 0.2]) as address:
        error = await explain(address, admin, CONTROLLER)
    assert isinstance(error, Unreachable), error
    assert "no time" in str(error)


async def test_a_proxy_in_the_environment_does_not_matter(
    served, admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("https_proxy", "http_proxy", "grpc_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert (await served.status(admin)).mesh == MESH


async def test_a_call_that_cannot_connect_says_so_at_once(admin) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        async with connect(address, admin, CONTROLLER) as connection:
            from probemesh.v1 import mesh_pb2, mesh_pb2_grpc

            stub = mesh_pb2_grpc.MeshStub(connection.channel)
            with pytest.raises(Unreachable, match="connection refused"):
                async with asyncio.timeout(3):
                    await connection.call(stub.Status, mesh_pb2.StatusRequest())

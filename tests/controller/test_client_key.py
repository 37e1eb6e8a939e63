"""A client key goes with its job to the agents that are asked, and is kept by nobody: not in a store, not in
a log, not in any other file."""

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from probemesh_controller.api import RunMeasured, RunRequest
from probemesh_controller.remote import RemoteMesh
from probemesh_shared.model import Job, Measurement, Options, TlsDetail, TlsSpec
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Outcome

from tests.controller.test_served import Served, client, collect, connected, served
from tests.servers.tls_pki import Made, make

__all__ = ["client", "served"]


@pytest.fixture
async def wanting(tmp_path: Path) -> AsyncIterator[tuple[int, Made]]:
    """A server that lets in nobody without a certificate of its authority."""
    root = make("Root", authority=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "server").mkdir()
    context.load_cert_chain(*root.issue("web.example", "web.example").save(tmp_path / "server"))
    context.load_verify_locations(cadata=root.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1], root
    server.close()


def needles(made: Made) -> list[bytes]:
    """What the key may be known by: its PEM's lines, and its number."""
    number = made.key.private_numbers().private_value.to_bytes(32, "big")
    lines = [line for line in made.key_pem.splitlines() if b"-----" not in line]
    return [*lines, number, number.hex().encode()]


def holders(folder: Path, made: Made) -> list[str]:
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles(made))
    ]


async def test_the_key_is_in_no_file_of_controller_and_agent(
    served: Served, client: RemoteMesh, wanting: tuple[int, Made]
) -> None:
    port, root = wanting
    ours = root.issue("client")
    folder = await served.join(client, "berlin")
    (folder / "policy.toml").write_text("[allow]\nloopback = true\n")
    command = ("run", "--state", str(folder), "--policy", str(folder / "policy.toml"))
    with (served.state / "berlin.log").open("wb") as log:
        served.programs["berlin"] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "probemesh_agent", *command), stderr=log, stdout=log
        )
    await connected(client, "berlin")
    spec = TlsSpec(
        Options(count=1, timeout_s=3.0),
        server_name="web.example",
        ca=root.pem,
        client_cert=ours.pem,
        client_key=ours.key_pem,
    )
    target = parse_target(f"127.0.0.1:{port}")
    events = await collect(client, RunRequest("r1", (target,), (spec,), ("berlin",), 10.0))
    (row,) = [row for event in events if isinstance(event, RunMeasured) for row in event.measurements]
    assert _let_in(row), "the key did arrive"
    (served.state / "control.log").write_bytes(ours.key_pem)
    assert holders(served.state, ours) == [str(served.state / "control.log")], "and was found only here"
    (served.state / "control.log").unlink()
    await served.close()
    assert holders(served.state, ours) == [], "nor after all has ended"


def _let_in(row: Measurement) -> bool:
    return (
        row.outcome is Outcome.OK
        and isinstance(row.detail, TlsDetail)
        and row.detail.client_certificate_requested is True
        and row.detail.verified is True
    )


def test_no_representation_shows_it() -> None:
    ours = make("client")
    spec = TlsSpec(client_cert=ours.pem, client_key=ours.key_pem)
    shown = repr((spec, Job("j", "r", spec, (), 1), RunRequest("r", (), (spec,), (), 1.0)))
    assert not any(needle.decode("latin-1") in shown for needle in needles(ours))


async def test_the_key_is_in_no_file_of_the_operator(tmp_path: Path, wanting: tuple[int, Made]) -> None:
    port, root = wanting
    ours, home = root.issue("client"), tmp_path / "home"
    home.mkdir()
    chain, key = ours.save(tmp_path / "server")
    (tmp_path / "root.pem").write_bytes(root.pem)
    command = [
        *(str(Path(sys.executable).parent / "meshctl"), "probe", f"127.0.0.1:{port}", "--kind", "tls"),
        *("--from", "self", "--count", "1", "--sni", "web.example", "--ca", str(tmp_path / "root.pem")),
        *("--client-cert", str(chain), "--client-key", str(key), "-o", "json"),
    ]
    places = {f"XDG_{one}_HOME": str(home / one.lower()) for one in ("CONFIG", "STATE", "CACHE", "DATA")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), **places}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert b'"client_certificate_requested": true' in out
    assert not any(needle in out + errors for needle in needles(ours))
    assert any(path.is_file() for path in home.rglob("*")), "the run itself is kept"
    assert holders(home, ours) == []

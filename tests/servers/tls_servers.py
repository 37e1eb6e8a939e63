"""nginx and ``openssl s_server`` on loopback, as a test wants them."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.ports import free_port
from tests.servers.tls_pki import Made

_NGINX = """
daemon off; master_process off; worker_processes 1;
error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off; server_tokens off; ssl_protocols TLSv1.2 TLSv1.3;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
{servers}
}}
"""


@contextlib.contextmanager
def tls_nginx(folder: Path, servers: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """One nginx with a server each; ``servers`` maps names to what stands in the block beside ``listen``
    (which says ``http2`` where the name does). Gives the ports."""
    ports = {name: free_port() for name in servers}
    blocks = "\n".join(
        f"    server {{ listen 127.0.0.1:{ports[name]} ssl{' http2' if 'h2' in name else ''}; {text}\n"
        f"        return 200 'hello\\n'; }}"
        for name, text in servers.items()
    )
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, servers=blocks))
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with _running(command, folder / "nginx.out", *ports.values()):
        yield ports


@contextlib.contextmanager
def tls_openssl(folder: Path, *options: str) -> Iterator[int]:
    """``openssl s_server`` with these options; gives its port."""
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet", *options]
    with _running(command, folder / f"s_server.{port}", port):
        yield port


def tls_options(made: Made, folder: Path, *above: Made) -> tuple[str, ...]:
    """Certificate and key, as ``openssl s_server`` takes them."""
    chain, key = made.save(folder, *above)
    return ("-cert", str(chain), "-cert_chain", str(chain), "-key", str(key))


def tls_staple(folder: Path, leaf: Made, issuer: Made, status: str = "V") -> Path:
    """A response made by ``openssl ocsp``: ``V`` valid, ``R`` revoked."""
    work = folder / f"ocsp-{leaf.certificate.serial_number:x}"
    work.mkdir()
    revoked = "261001000000Z" if status == "R" else ""
    serial = f"{leaf.certificate.serial_number:X}"
    serial = serial if len(serial) % 2 == 0 else f"0{serial}"
    (work / "index.txt").write_text(f"{status}\t330101000000Z\t{revoked}\t{serial}\tunknown\t/CN=x\n")
    (work / "leaf.pem").write_bytes(leaf.pem)
    (work / "issuer.pem").write_bytes(issuer.pem)
    (work / "issuer.key").write_bytes(issuer.key_pem)
    issued = ["-issuer", "issuer.pem", "-cert", "leaf.pem"]
    signed = ["-rsigner", "issuer.pem", "-rkey", "issuer.key", "-CA", "issuer.pem", "-index", "index.txt"]
    for more in (
        [*issued, "-no_nonce", "-reqout", "request.der"],
        [*signed, "-reqin", "request.der", "-respout", "response.der", "-ndays", "7"],
    ):
        subprocess.run(["openssl", "ocsp", *more], cwd=work, check=True, capture_output=True, timeout=20)
    return work / "response.der"


@contextlib.contextmanager
def _running(command: list[str], out: Path, *ports: int) -> Iterator[None]:
    with (
        out.open("wb") as said,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as process,
    ):
        try:
            for port in ports:
                _wait(port, process, out)
            yield
        finally:
            process.kill()


def _wait(port: int, process: "subprocess.Popen[bytes]", out: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert process.poll() is None, out.read_text(errors="replace")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}: {out.read_text(errors='replace')}")

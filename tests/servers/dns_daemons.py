"""Name servers from Debian as processes of a test: bind9's ``named``, and ``unbound``.

::

    with named(folder, zones, identity="lab-1", tls=certificate) as server:
        ... server.port (UDP and TCP), server.dot_port, server.doh_port

Each listens on one address (loopback, unless told otherwise) and is gone when its block ends. ``prefix``
stands before the command: ``ip netns exec NAME`` runs it in a namespace.
"""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from tests.ports import free_port

_START_S = 20.0


@dataclass(frozen=True)
class Server:
    """Where a name server is reached; ``log`` is what it wrote."""

    address: str
    port: int
    dot_port: int | None
    doh_port: int | None
    log: Path


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: the chain, and its key."""

    chain: Path
    key: Path


@contextlib.contextmanager
def named(
    folder: Path,
    zones: Mapping[str, Path],
    *,
    address: str = "127.0.0.1",
    port: int | None = None,
    identity: str = "lab",
    tls: Certificate | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """bind9 with authority for ``zones`` (name to file) and no recursion; DoT and DoH where ``tls`` is."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    dot, doh = (free_port(), free_port()) if tls else (None, None)
    listen = "listen-on-v6" if ":" in address else "listen-on"
    other = "listen-on" if ":" in address else "listen-on-v6"
    lines = [f"{listen} port {port} {{ {address}; }};", f"{other} {{ none; }};"]
    text = ""
    if tls:
        text = f'tls lab {{ cert-file "{tls.chain}"; key-file "{tls.key}"; }};\n'
        text += 'http lab { endpoints { "/dns-query"; }; };\n'
        lines.append(f"{listen} port {dot} tls lab {{ {address}; }};")
        lines.append(f"{listen} port {doh} tls lab http lab {{ {address}; }};")
    text += f"""
options {{
  directory "{folder}"; pid-file none; session-keyfile none; managed-keys-directory "{folder}";
  recursion no; dnssec-validation no; minimal-responses no; notify no; max-udp-size 4096;
  server-id "{identity}"; allow-query {{ any; }};
  {" ".join(lines)}
}};
controls {{ }};
"""
    for zone, file in zones.items():
        text += f'zone "{zone}" {{ type primary; file "{file}"; }};\n'
    (folder / "named.conf").write_text(text)
    command = [*prefix, "named", "-g", "-n", "1", "-c", str(folder / "named.conf")]
    with _running(command, folder / "named.log", "all zones loaded") as log:
        assert "not loaded due to errors" not in log.read_text(), log.read_text()[-3000:]
        yield Server(address, port, dot, doh, log)


@contextlib.contextmanager
def unbound(
    folder: Path,
    stubs: Mapping[str, tuple[str, int]],
    *,
    anchors: Sequence[str] = (),
    address: str = "127.0.0.1",
    port: int | None = None,
    identity: str = "resolver",
    tls: Certificate | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """A resolver that knows ``stubs`` (zone to address and port) alone, and validates below ``anchors`` (DS
    or DNSKEY records as text)."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    dot, doh = (free_port(), free_port()) if tls else (None, None)
    text = f"""server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  interface: {address}@{port}
  access-control: 0.0.0.0/0 allow
  access-control: ::0/0 allow
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor-signaling: no
  minimal-responses: no
  qname-minimisation: no
  ede: yes
  val-log-level: 2
  verbosity: 2
  nsid: "ascii_{identity}"
"""
    if tls:
        text += f"""  interface: {address}@{dot}
  interface: {address}@{doh}
  tls-port: {dot}
  https-port: {doh}
  tls-service-key: "{tls.key}"
  tls-service-pem: "{tls.chain}"
"""
    text += "".join(f"  trust-anchor: '{anchor}'\n" for anchor in anchors)
    text += "remote-control:\n  control-enable: no\n"
    for zone, (stub, stub_port) in stubs.items():
        text += f'stub-zone:\n  name: "{zone}"\n  stub-addr: {stub}@{stub_port}\n  stub-no-cache: yes\n'
    (folder / "unbound.conf").write_text(text)
    command = [*prefix, "unbound", "-d", "-c", str(folder / "unbound.conf")]
    with _running(command, folder / "unbound.log", "start of service") as log:
        yield Server(address, port, dot, doh, log)


@contextlib.contextmanager
def _running(command: Sequence[str], log: Path, ready: str) -> Iterator[Path]:
    """Until the block ends; the program is ready when ``ready`` stands in its log."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        _await(process, log, ready)
        yield log
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(process: "subprocess.Popen[bytes]", log: Path, ready: str) -> None:
    until = time.monotonic() + _START_S
    while ready not in (told := log.read_text(errors="replace")):
        assert process.poll() is None, f"it ended by itself:\n{told[-3000:]}"
        assert time.monotonic() < until, f"it is not ready after {_START_S:g} s:\n{told[-3000:]}"
        time.sleep(0.02)


def ask(server: Server, name: str, record_type: str, **more) -> dns.message.Message:
    """One question by other code than ours."""
    return dns.query.udp(
        dns.message.make_query(name, record_type, **more), server.address, port=server.port, timeout=5
    )


__all__ = ["Certificate", "Server", "ask", "free_port", "named", "unbound"]

"""What other programs say of a lab, read as kindly as their output allows: one-ended probemesh, nmap, Nping's
echo mode, coturn's NAT discovery.

Every answer is put into our words, of A→B alone: ``verdict`` and ``alternatives`` as diagnosis has them. What
a program leaves open is the set of everything that would look the same to it.
"""

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.lab.inside import inside
from tests.lab.labs import Case
from tests.lab.mesh import Mesh
from tests.lab.netlab import Host

#: Nobody answers: what one end cannot tell apart.
SILENCE = [
    *("forward-drop", "return-drop", "target-input-drop", "target-output-filter", "target-down"),
    *("syn-filter", "blackhole", "asymmetric-stateful", "return-reject", "return-reset"),
    *("target-reverse-path-filter", "source-output-filter"),
]
ECHO_PORT = 9929
STUN_PORT = 3478
LIMIT_S = 30


def answer(verdict: str, alternatives: list[str] | None = None, words: str = "") -> dict[str, Any]:
    return {"verdict": verdict, "alternatives": alternatives or [], "words": words}


def beside(mesh: Mesh, case: Case) -> dict[str, Any]:
    """By program; one that is not there, or cannot ask this, is left out."""
    found: dict[str, Any] = {}
    address, port = mesh.stage.address(case, "forward"), case.lab.port
    source, target = (mesh.stage[name] for name in case.lab.ends)
    if case.transport in ("tcp", "udp"):
        found["one end"] = one_end(mesh, case, address)
        kinds = ("-sS", "-sT") if case.transport == "tcp" else ("-sU",)
        if shutil.which("nmap"):
            found |= {f"nmap {kind}": nmap(source, kind, address, port) for kind in kinds}
        if shutil.which("nping") and case.family == "v4":
            found["nping echo"] = nping(source, target, case.transport, address, port)
    if case.lab.nat and case.transport == "udp" and shutil.which("turnserver"):
        found["natdiscovery"] = natdiscovery(mesh.stage["a"], mesh.stage["b"])
        found["nat"] = nat(mesh, case)
    return found


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return done.stdout + done.stderr


# --- one end of our own ----------------------------------------------------------------------------


def one_end(mesh: Mesh, case: Case, address: str) -> dict[str, Any]:
    """``meshctl probe`` from A alone, which knows nothing of B."""
    host = f"[{address}]" if ":" in address else address
    target = f"{case.transport}://{host}:{case.lab.port}"
    told = mesh.meshctl("probe", target, "--from", case.lab.ends[0], "--timeout", "1", "-o", "json")
    try:
        said = json.loads(told.out)
    except ValueError:
        return answer("undetermined", words=f"exit code {told.code}")
    outcome = said["vantages"][0]["outcome"]
    if said["findings"]:
        finding = said["findings"][0]
        names = list(finding["alternatives"])
        verdict = {"not-listening": "port-closed"}.get(finding["verdict"], finding["verdict"])
        if verdict in ("silent-for-all", "undetermined"):
            return answer("undetermined", names, finding["verdict"])
        return answer(verdict, names, finding["verdict"])
    return answer("reachable" if outcome == "ok" else "undetermined", words=outcome)


# --- nmap --------------------------------------------------------------------------------------------


def nmap(source: Host, kind: str, address: str, port: int) -> dict[str, Any]:
    words = ["nmap", "-Pn", "-n", "--reason", kind, "-p", str(port), "-oX", "-", address]
    if ":" in address:
        words.insert(1, "-6")
    return read_nmap(_said(source.command(*words)))


def read_nmap(xml: str) -> dict[str, Any]:
    """``open`` is reachable, ``closed`` is what it says; whoever sent an ICMP error is known by -sS only."""
    try:
        state = ElementTree.fromstring(xml[xml.index("<?xml") :]).find(".//port/state")
    except (ValueError, ElementTree.ParseError):
        state = None
    if state is None:
        return answer("undetermined", words="nothing")
    name, reason = state.get("state", ""), state.get("reason", "")
    words = f"{name} {reason}"
    if name == "open":
        return answer("reachable", words=words)
    if name == "closed":
        return answer("port-closed", words=words)
    if reason in ("no-response", "") or name == "open|filtered":
        return answer("undetermined", [*SILENCE, *(["silent-service"] if "open" in name else [])], words)
    return answer("forward-reject", words=words)


# --- Nping ---------------------------------------------------------------------------------------------


def nping(source: Host, target: Host, transport: str, address: str, port: int) -> dict[str, Any]:
    """The far end tells which packets came; without encryption, which fails with current OpenSSL."""
    server = target.command("nping", "--echo-server", "public", "-e", _device(target, address), "--no-crypto")
    with _running(server, lambda: inside(target, lambda: _listens("tcp", ECHO_PORT))) as up:
        if not up:
            return answer("undetermined", words="no echo server")
        client = ("nping", "--echo-client", "public", address, f"--{transport}", "-p", str(port))
        said = _said(source.command(*client, "--no-crypto", "-c", "3", "--delay", "300ms"))
    return read_nping(said, transport)


def _device(host: Host, address: str) -> str:
    for one in json.loads(host.run("ip", "-j", "addr")):
        if any(info["local"] == address for info in one["addr_info"]):
            return str(one["ifname"])
    return "eth0"


def read_nping(said: str, transport: str) -> dict[str, Any]:
    """``SENT``, ``CAPT`` (the echo server saw it), ``RCVD``."""
    seen = "CAPT" in said
    received = [line for line in said.splitlines() if line.startswith("RCVD")]
    words = f"{'seen' if seen else 'not seen'}, {'answered' if received else 'not answered'}"
    if "SENT" not in said:
        return answer("undetermined", words="no echo session")
    if not received:
        lost = ["return-drop", "target-input-drop", "target-output-filter", "return-reject", "return-reset"]
        return answer("undetermined", lost, words) if seen else answer("forward-drop", words=words)
    if " ICMP " in received[0]:
        seen_and_told = "port-closed" if transport == "udp" else "target-input-reject"
        return answer(seen_and_told if seen else "forward-reject", words=f"{words} by ICMP")
    if transport == "tcp" and " RA " in received[0]:
        return answer("port-closed" if seen else "forward-reset", words=f"{words} by reset")
    return answer("reachable", words=words)


# --- NAT -------------------------------------------------------------------------------------------------


def natdiscovery(inside_host: Host, reflector: Host) -> dict[str, Any]:
    """coturn's client in A against its server on B's two addresses; mapping and filtering, as it says."""
    with tempfile.TemporaryDirectory(prefix="probemesh-lab-") as folder:
        server = reflector.command(
            *("turnserver", "-n", "-L", "203.0.113.2", "-L", "203.0.113.3", "-p", str(STUN_PORT), "-S"),
            *("--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout", "--pidfile", f"{folder}/pid"),
        )
        with _running(server, lambda: inside(reflector, lambda: _listens("udp", STUN_PORT))) as up:
            if not up:
                return {"mapping": None, "filtering": None, "words": "no STUN server"}
            said = _said(inside_host.command("turnutils_natdiscovery", "-m", "-f", "203.0.113.2"))
    return read_natdiscovery(said)


_WORDS = {
    "Endpoint Independent": "endpoint-independent",
    "Address Dependent": "address-dependent",
    "Address and Port Dependent": "address-and-port-dependent",
}


def read_natdiscovery(said: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "words": "; ".join(re.findall(r"^.*(?:Mapping|Filtering)!.*$", said, re.MULTILINE))
    }
    for aspect in ("Mapping", "Filtering"):
        match = re.search(rf"with (.*?) {aspect}!", said)
        found[aspect.lower()] = _WORDS.get(match[1]) if match else None
    return found


def nat(mesh: Mesh, case: Case) -> dict[str, Any]:
    """What ``meshctl nat`` says of A."""
    asked = case.lab.nat.get(case.lab.ends[0], {}).get("ask", ())
    told = mesh.meshctl("nat", case.lab.ends[0], *asked, "-o", "json")
    try:
        agents = json.loads(told.out)["agents"]
        return dict(next(one for one in agents if one["agent"] == case.lab.ends[0]))
    except (ValueError, KeyError, StopIteration):
        return {"mapping": None, "filtering": None, "words": f"exit code {told.code}"}


# --- servers ---------------------------------------------------------------------------------------------


def _listens(protocol: str, port: int) -> bool:
    lines = Path(f"/proc/thread-self/net/{protocol}").read_text().splitlines()[1:]
    return any(int(line.split()[1].rpartition(":")[2], 16) == port for line in lines)


@contextlib.contextmanager
def _running(command: list[str], is_up: Any) -> Iterator[bool]:
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 5.0
        while not is_up() and time.monotonic() < until and server.poll() is None:
            time.sleep(0.05)
        yield is_up()
    finally:
        server.kill()
        server.wait()

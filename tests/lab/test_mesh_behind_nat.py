"""Agents in three namespaces behind a masquerading router, a controller in a fourth, a server in a fifth."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.netlab import Host, NetLab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(300)]

BIN = Path(sys.executable).parent
NAMES = ("berlin-1", "tokyo-1", "virginia-1")
SERVER, SERVER6, CONTROLLER = "203.0.113.2", "2001:db8:5::2", "198.51.100.2"
OPEN, CLOSED, DROPPED, REJECTED = 7001, 7002, 7003, 7004  # none of them suggests a protocol
HOSTS = f"127.0.0.1 localhost\n{SERVER} web.lab\n{SERVER} both.lab\n{SERVER6} both.lab\n"
#: Accepts on the given ports, both families, until it is ended.
LISTENER = """
import socket, sys, threading
for port in map(int, sys.argv[1:]):
    sock = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    def serve(sock=sock):
        while True:
            sock.accept()[0].close()
    threading.Thread(target=serve, daemon=True).start()
threading.Event().wait()
"""


@dataclass
class Mesh:
    lab: NetLab
    home: Host
    state: Path

    @property
    def environment(self) -> dict[str, str]:
        config = str(self.state / "config.toml")
        return {**os.environ, "MESHCTL_CONFIG": config, "XDG_CACHE_HOME": str(self.state / "cache")}

    def meshctl(self, *words: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        command = self.home.command(str(BIN / "meshctl"), *words)
        return subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def probe(self, *words: str) -> tuple[dict[str, Any], int]:
        """JSON and exit code of a probe from all agents, silence cut short."""
        done = self.meshctl("probe", *words, "--from", "all", "--timeout", "1", "-o", "json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout), done.returncode


def build(lab: NetLab) -> tuple[dict[str, Host], Host, Host]:
    """Agents – R (masquerades) – W – controller and server. R rejects one agent's packets to one port."""
    inner, outer = lab.router("r"), lab.router("w")
    agents = {}
    for place, name in enumerate(NAMES, 1):
        host = agents[name] = lab.host(name)
        net, net6 = f"10.1.{place}", f"2001:db8:1{place}:"
        lab.link(host, inner, f"{net}.2/24", f"{net}.1/24", f"{net6}:2/64", f"{net6}:1/64")
        host.default_via(f"{net}.1", f"{net6}:1")
        lab.etc(host, "hosts", HOSTS)
        lab.etc(host, "resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    out, _ = lab.link(inner, outer, "192.0.2.2/24", "192.0.2.1/24", "2001:db8:2::2/64", "2001:db8:2::1/64")
    inner.default_via("192.0.2.1", "2001:db8:2::1")
    lab.masquerade(inner, out)
    home, server = lab.host("home"), lab.host("server")
    lab.link(home, outer, f"{CONTROLLER}/24", "198.51.100.1/24")
    lab.link(server, outer, f"{SERVER}/24", "203.0.113.1/24", f"{SERVER6}/64", "2001:db8:5::1/64")
    home.default_via("198.51.100.1")
    server.default_via("203.0.113.1", "2001:db8:5::1")
    server.chain("input", f"tcp dport {DROPPED} drop")
    inner.chain("forward", f"ip saddr 10.1.1.2 tcp dport {REJECTED} reject with icmp type admin-prohibited")
    return agents, home, server


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    state = tmp_path_factory.mktemp("mesh")
    with NetLab() as lab, ExitStack() as held:
        agents, home, server = build(lab)
        found = Mesh(lab, home, state)
        assert found.meshctl("init", "--state", str(state)).returncode == 0
        held.enter_context(
            server.start(sys.executable, "-c", LISTENER, str(OPEN), str(DROPPED), str(REJECTED))
        )
        held.enter_context(
            home.start(
                str(BIN / "meshctl"),
                *("controller", "run", "--state", str(state), "--listen", f"{CONTROLLER}:7400"),
                env=found.environment,
            )
        )
        until(lambda: found.meshctl("agents").returncode == 0)
        for name, host in agents.items():
            join(found, name, host)
            log = held.enter_context((state / f"{name}.log").open("wb"))
            command = (str(BIN / "mesh-agent"), "run", "--state", str(state / name))
            held.enter_context(host.start(*command, stderr=log))
        until(lambda: connected(found) == set(NAMES))
        yield found


def join(found: Mesh, name: str, host: Host) -> None:
    made = found.meshctl("token", "create", "--name", name, "--site", name[:-2], "-o", "json")
    assert made.returncode == 0, made.stderr
    host.run(
        *(str(BIN / "mesh-agent"), "join", f"{CONTROLLER}:7400", "--token-file", "-"),
        *("--state", str(found.state / name)),
        stdin=json.loads(made.stdout)["token"],
    )


def connected(found: Mesh) -> set[str]:
    done = found.meshctl("agents", "-o", "json")
    if done.returncode != 0:
        return set()
    return {one["name"] for one in json.loads(done.stdout)["agents"] if one["state"] == "connected"}


def until(holds: Any) -> None:
    """Processes of others have no event to wait for: asks again, for a minute."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "not within a minute"
        time.sleep(0.2)


def verdicts(result: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [(one["verdict"], one["scope"]["from"]) for one in result["findings"]]


def test_open_from_behind_the_nat(mesh: Mesh) -> None:
    result, code = mesh.probe(f"web.lab:{OPEN}")
    assert code == 0, result
    assert result["summary"] == {"reached": 3, "failed": 0, "unmeasured": 0, "total": 3}
    assert verdicts(result) == []


def test_closed_is_not_listening(mesh: Mesh) -> None:
    result, code = mesh.probe(f"web.lab:{CLOSED}")
    assert code == 1
    assert verdicts(result) == [("not-listening", list(NAMES))]
    assert {one["outcome"] for one in result["vantages"]} == {"refused"}


def test_dropped_is_silent_for_all_and_the_host_is_not_down(mesh: Mesh) -> None:
    result, code = mesh.probe(f"web.lab:{DROPPED}")
    assert code == 1
    assert verdicts(result) == [("silent-for-all", list(NAMES))]
    left = set(result["findings"][0]["alternatives"])
    assert left == {"forward-drop", "return-drop", "target-input-drop"}


def test_rejected_for_one_source_names_the_sender(mesh: Mesh) -> None:
    result, code = mesh.probe(f"web.lab:{REJECTED}")
    assert code == 3
    assert verdicts(result) == [("source-selective", ["berlin-1"])]
    (finding,) = result["findings"]
    assert finding["place"] == {"kind": "hop", "address": "10.1.1.1", "hop": 1}
    assert finding["confidence"] == "certain"
    assert finding["alternatives"] == ["forward-reject"]
    (berlin,) = [one for one in result["vantages"] if one["agent"] == "berlin-1"]
    assert (berlin["outcome"], berlin["failed_at"]) == ("prohibited", "tcp")


def test_a_name_that_does_not_resolve(mesh: Mesh) -> None:
    result, code = mesh.probe("nothere.lab:80")
    assert code == 1
    assert verdicts(result) == [("name-fails", list(NAMES))]
    assert {one["outcome"] for one in result["vantages"]} == {"name-fails"}


def test_ipv6(mesh: Mesh) -> None:
    result, code = mesh.probe(f"[{SERVER6}]:{OPEN}")
    assert code == 0, result
    assert verdicts(result) == []


def test_ipv6_dead_where_ipv4_works(mesh: Mesh) -> None:
    (server,) = [host for host in mesh.lab.hosts if host.name == "server"]
    server.chain("input", f"meta nfproto ipv6 tcp dport {OPEN} drop", table="six")
    try:
        result, code = mesh.probe(f"both.lab:{OPEN}")
    finally:
        server.run("nft", "delete", "table", "inet", "six")
    assert code == 0
    assert verdicts(result) == [("family-broken", list(NAMES))]
    assert result["findings"][0]["scope"]["family"] == "ipv6"

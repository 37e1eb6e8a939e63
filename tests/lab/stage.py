"""A topology that stands, on which one lab after the other is played.

::

    with NetLab() as net:
        stage = Stage(net, library().topologies["base"])
        with stage.playing(case):
            ...

Between labs everything goes back: rules, sysctls, commands, services, tracked connections, path MTUs that
were learnt. A stage on which something stayed says so at once instead of spoiling the next lab.
"""

import contextlib
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import trustme

from tests.lab import plain
from tests.lab.inside import forget_connections, inside, set_sysctl
from tests.lab.labs import Case, Topology, Truth
from tests.lab.netlab import Host, NetLab

SERVICES = Path(__file__).with_name("services.py")
CONTROLLER = "172.31.255.1"
#: All but those with the controller. Half-open ones live for a minute, and the next lab would count the
#: resets that their repeated SYN-ACKs meet.
CONNECTIONS = ("state", "connected", "( not sport = :7400 and not dport = :7400 )")
#: What an ordinary client sees of a fault, where a lab does not say.
SEEN = {
    "reachable": "ok",
    "port-closed": "ECONNREFUSED",
    "forward-reset": "ECONNREFUSED",
    "listening-elsewhere": "ECONNREFUSED",
}


class Certificates(dict[str, str]):
    """``{cert}``, ``{othercert}`` … in what a lab says: files with certificate and key, made when wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __missing__(self, name: str) -> str:
        file = self._folder / f"{name}.pem"
        made = trustme.CA().issue_cert(f"{name}.lab", "203.0.113.2", "2001:db8:3::2")
        made.private_key_and_cert_chain_pem.write_to_path(str(file))
        self[name] = str(file)
        return self[name]


class Stage:
    """``hosts`` by name. The controller's namespace is ``m``: a star of its own to every agent, so that no
    rule of a lab comes between (a topology may put it into the lab instead)."""

    def __init__(self, net: NetLab, topology: Topology) -> None:
        self.net = net
        self.topology = topology
        self._folder = tempfile.TemporaryDirectory(prefix="probemesh-lab-")
        self.values = Certificates(Path(self._folder.name))
        self.hosts: dict[str, Host] = {}
        self._serving: dict[str, tuple[tuple[str, ...], contextlib.ExitStack]] = {}
        self._build()
        self._before = self._snapshot()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def controller(self) -> tuple[Host, str]:
        """Where the controller runs, and by which address it is dialled."""
        if self.topology.controller:
            host, _, address = self.topology.controller.partition(" ")
            return self.hosts[host], address
        return self.hosts["m"], CONTROLLER

    # --- building ------------------------------------------------------------------------------

    def _build(self) -> None:
        topology = self.topology
        for name in topology.hosts:
            self.hosts[name] = self.net.host(name)
        for name in topology.routers:
            self.hosts[name] = self.net.router(name)
        for link in topology.links:
            (one, here), (other, there) = (end.split(".") for end in link.ends)
            make = self.net.delayed if link.delay_ms else self.net.link
            more: dict[str, Any] = {"delay_ms": link.delay_ms} if link.delay_ms else {}
            make(self.hosts[one], self.hosts[other], names=(here, there), **more)
            for host, device, addresses in (
                (one, here, link.addresses[0]),
                (other, there, link.addresses[1]),
            ):
                if link.mtu:
                    self.hosts[host].run("ip", "link", "set", "dev", device, "mtu", str(link.mtu))
                self.net.address(self.hosts[host], device, addresses)
        for name, routes in topology.routes.items():
            for route in routes:
                self.hosts[name].route(*route.split())
        for name, commands in topology.run.items():
            for command in commands:
                self._run(name, command)
        for name, rules in topology.standing.items():
            self.hosts[name].nft(rules)
        if not topology.controller:
            self._manage()

    def _manage(self) -> None:
        home = self.hosts["m"] = self.net.host("m")
        home.run("ip", "addr", "add", f"{CONTROLLER}/32", "dev", "lo")
        for place, name in enumerate(self.topology.agents, 1):
            host, net = self.hosts[name], f"172.31.{place}"
            self.net.link(host, home, f"{net}.2/30", f"{net}.1/30", names=("mgmt", f"to-{name}"))
            host.route(f"{CONTROLLER}/32", "via", f"{net}.1")

    # --- playing -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def playing(self, case: Case) -> Iterator[None]:
        """The lab holds inside the block."""
        lab, given_back = case.lab, contextlib.ExitStack()
        with given_back:
            given_back.callback(self._reset)
            for host, settings in lab.sysctl.items():
                for name, value in settings.items():
                    was = set_sysctl(self.hosts[host], name, value)
                    given_back.callback(set_sysctl, self.hosts[host], name, was)
            for host, commands in lab.run.items():
                given_back.callback(self._undo, host, lab.undo.get(host, ()))
                for command in commands:
                    self._run(host, command)
            self._serve(case.services())
            for host, rules in lab.nft.items():
                self.hosts[host].nft(rules)
            for host, hooks in lab.rules.items():
                for hook, lines in hooks.items():
                    name, _, priority = hook.partition(" ")
                    self.hosts[host].chain(name, *lines, priority=int(priority or 0))
            yield

    def _run(self, host: str, command: str) -> None:
        self.hosts[host].run(*shlex.split(command.format_map(self.values)))

    def _undo(self, host: str, commands: tuple[str, ...]) -> None:
        for command in commands:
            self._run(host, command)

    def _serve(self, wanted: Mapping[str, tuple[str, ...]]) -> None:
        """Those that run already and are wanted so go on."""
        for host in {*self._serving, *wanted}:
            lines = tuple(line.format_map(self.values) for line in wanted.get(host, ()))
            if host in self._serving and self._serving[host][0] != lines:
                self._serving.pop(host)[1].close()
            if lines and host not in self._serving:
                self._serving[host] = lines, self._start(host, lines)

    def _start(self, host: str, lines: tuple[str, ...]) -> contextlib.ExitStack:
        held = contextlib.ExitStack()
        command = (sys.executable, "-I", str(SERVICES), *lines)
        process = held.enter_context(self.hosts[host].start(*command, stdout=subprocess.PIPE))
        assert process.stdout is not None
        held.callback(process.stdout.close)
        said = process.stdout.readline()
        if said != b"ready\n":
            held.close()
            raise AssertionError(f"no service in {host}: {', '.join(lines)}")
        return held

    def _reset(self) -> None:
        for host in self.hosts.values():
            host.nft_flush()
            if host.name in self.topology.standing:
                host.nft(self.topology.standing[host.name])
            else:  # a NAT that stands carries our own connections
                forget_connections(host)
            for family in ("-4", "-6"):
                host.run("ip", family, "route", "flush", "cache")
            host.run("ip", "tcp_metrics", "flush")
        for name, host in self.hosts.items():
            host.run("ss", "-K", "-t", *CONNECTIONS)
            if name in self._serving and host.run("ss", "-Htn", "state", "syn-recv"):
                self._serving.pop(name)[1].close()  # a kernel that destroys no sockets

    def close(self) -> None:
        for _, held in self._serving.values():
            held.close()
        self._serving.clear()
        self._folder.cleanup()

    # --- looking -------------------------------------------------------------------------------

    def check_clean(self) -> None:
        """AssertionError where a lab left something behind."""
        now = self._snapshot()
        for host, was in self._before.items():
            assert now[host] == was, f"{host} is not as it was:\n{was}\nnow:\n{now[host]}"

    def _snapshot(self) -> dict[str, str]:
        """Addresses, links and routes of every host, as text."""
        return {name: inside(host, _network) for name, host in self.hosts.items()}

    def address(self, case: Case, direction: str) -> str:
        """What is dialled in this direction."""
        told = case.lab.dial.get(f"{direction}-{case.family}") or case.lab.dial.get(direction)
        if told:
            return told
        target = case.lab.ends[1 if direction == "forward" else 0]
        wants6 = case.family == "v6"
        known = self.topology.agents[target] or self.topology.addresses(target)
        return next(address for address in known if (":" in address) == wants6)

    def plain(self, case: Case) -> dict[str, str]:
        """What ordinary sockets see in each direction."""
        ends = {
            "forward": (case.lab.ends[0], case.lab.port),
            "reverse": (case.lab.ends[1], case.lab.reverse_port),
        }

        def look(direction: str) -> str:
            host, port = ends[direction]
            address = self.address(case, direction)
            return inside(self.hosts[host], lambda: plain.look(case.transport, address, port))

        with ThreadPoolExecutor(2) as pool:
            return dict(zip(ends, pool.map(look, ends), strict=True))

    def unhit(self) -> list[str]:
        """Rules with a counter that counted nothing."""
        found = []
        for name, host in self.hosts.items():
            for entry in json.loads(host.run("nft", "-j", "list", "ruleset"))["nftables"]:
                rule = entry.get("rule")
                counters = [one["counter"] for one in (rule or {}).get("expr", ()) if "counter" in one]
                if any(counter["packets"] == 0 for counter in counters):
                    found.append(f"{name}: {rule['chain']} handle {rule['handle']}")
        return found


def seen(case: Case, truth: Truth) -> str:
    """What :func:`plain.look` has to say of a direction of which this is true."""
    if truth.plain:
        return truth.plain
    word = SEEN.get(truth.verdict, "timeout")
    return "timeout" if case.transport == "icmp" and word != "ok" else word


def _network() -> str:
    """What was set up; not what the kernel found out by itself (states, link-local addresses)."""
    lines = []
    for one in json.loads(_words("ip", "-j", "addr")):
        addresses = (f"{info['local']}/{info['prefixlen']}" for info in one["addr_info"])
        set_up = sorted(address for address in addresses if not address.startswith("fe80:"))
        lines.append(f"{one['ifname']} mtu {one['mtu']} {'UP' in one['flags']} {' '.join(set_up)}")
    for kind in (("route", "show", "table", "all"), ("-6", "route", "show", "table", "all"), ("rule",)):
        lines += [line for line in _words("ip", *kind).splitlines() if _lasting(line)]
    return "\n".join(sorted(lines))


def _lasting(route: str) -> bool:
    """Not what the kernel adds by itself once a link is up."""
    return not any(word in route for word in ("expires", "fe80:", "ff00::", "proto kernel"))


def _words(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def prove(stage: Stage, case: Case) -> list[str]:
    """What is not as the lab says, by ordinary sockets and the rules' own counters; inside ``playing``."""
    words = stage.plain(case)
    wrong = [
        f"{direction}: an ordinary socket sees {words[direction]}, not {wanted}"
        for direction in ("forward", "reverse")
        if words[direction] not in (wanted := seen(case, case.truth(direction))).split("|")
    ]
    if case.hit and not case.lab.healthy and case.transport != "icmp":
        wrong += [f"a rule was never hit: {rule}" for rule in stage.unhit()]
    return wrong

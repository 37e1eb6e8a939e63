"""Network namespaces for tests: hosts, links, routes, nftables rules; everything gone at the end.

::

    with NetLab() as lab:
        a, r, b = lab.host("a"), lab.router("r"), lab.host("b")
        lab.link(a, r, "10.1.0.2/24", "10.1.0.1/24", "2001:db8:1::2/64", "2001:db8:1::1/64")
        lab.link(r, b, "10.2.0.1/24", "10.2.0.2/24", "2001:db8:2::1/64", "2001:db8:2::2/64")
        a.default_via("10.1.0.1", "2001:db8:1::1")
        b.default_via("10.2.0.1", "2001:db8:2::1")
        b.chain("input", "tcp dport 5432 drop")
        with b.start("python3", "-m", "http.server", "8080"): ...

Namespaces are named ``pl-RANDOM-NAME``; only those that this lab made are touched. Needs root, ``ip`` and
``nft``.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

STOP_S = 12.0
RELAY = Path(__file__).with_name("relay.py")


def run(*command: str, stdin: str | None = None) -> str:
    """Output of a command; AssertionError with its words where it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}"
    return done.stdout


@dataclass
class Host:
    """One namespace. ``name`` is short; ``namespace`` is what ``ip netns`` knows it by."""

    name: str
    namespace: str
    interfaces: int = 0
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def command(self, *command: str) -> list[str]:
        """The command line that runs ``command`` in here."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def run(self, *command: str, stdin: str | None = None) -> str:
        return run(*self.command(*command), stdin=stdin)

    def nft(self, rules: str) -> None:
        """Adds rules; later tables of the same name add to earlier ones."""
        self.run("nft", "-f", "-", stdin=rules)

    def chain(self, hook: str, *rules: str, table: str = "f", priority: int = 0) -> None:
        """Rules in a chain ``HOOK`` of type filter in ``table inet TABLE``."""
        kind = f"type filter hook {hook} priority {priority}; policy accept;"
        self.nft(
            f"table inet {table} {{\nchain {hook}_{priority + 500} {{\n{kind}\n"
            + "\n".join(rules)
            + "\n}\n}\n"
        )

    def nft_flush(self) -> None:
        self.run("nft", "flush", "ruleset")

    def sysctl(self, **settings: object) -> None:
        """``net__ipv4__ip_forward=1``: dots are written as two underscores."""
        for name, value in settings.items():
            self.run("sysctl", "-qw", f"{name.replace('__', '.')}={value}")

    def route(self, *words: str) -> None:
        """``ip route add …``; IPv6 by the address in it."""
        family = "-6" if any(":" in word for word in words) else "-4"
        self.run("ip", family, "route", "add", *words)

    def default_via(self, *gateways: str) -> None:
        for gateway in gateways:
            self.route("default", "via", gateway)

    @contextlib.contextmanager
    def start(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        stdout: int | IO[Any] = subprocess.DEVNULL,
        stderr: int | IO[Any] = subprocess.DEVNULL,
        stdin: int | IO[Any] = subprocess.DEVNULL,
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """A process in here, for as long as the block lasts."""
        process = subprocess.Popen(
            self.command(*command),
            env={**os.environ, **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        self.started.append(process)
        try:
            yield process
        finally:
            end(process)
            self.started.remove(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, and SIGKILL where that does not do; reaped."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _remove(namespace: str) -> None:
    """Where others make namespaces at the same moment the mount may be busy for an instant."""
    command = ["ip", "netns", "delete", namespace]
    for _ in range(20):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 or not (Path("/run/netns") / namespace).exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")


def _next(host: Host) -> str:
    host.interfaces += 1
    return f"eth{host.interfaces - 1}"


class NetLab:
    """Makes hosts and links; leaving the block kills what was started in them and removes them."""

    def __init__(self) -> None:
        self.prefix = f"pl-{secrets.token_hex(3)}"
        self.hosts: list[Host] = []

    def __enter__(self) -> "NetLab":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """May be called twice; goes on where a host is half made."""
        while self.hosts:
            host = self.hosts.pop()
            for process in host.started:
                end(process)
            _remove(host.namespace)
            shutil.rmtree(Path("/etc/netns") / host.namespace, ignore_errors=True)

    def host(self, name: str) -> Host:
        """A namespace with loopback up, IPv6 without duplicate address detection (it would cost a second),
        and ping sockets open to everybody."""
        host = Host(name, f"{self.prefix}-{name}")
        run("ip", "netns", "add", host.namespace)
        self.hosts.append(host)
        host.run("ip", "link", "set", "lo", "up")
        host.sysctl(
            net__ipv6__conf__default__accept_dad=0,
            net__ipv6__conf__all__accept_dad=0,
            net__ipv4__ping_group_range="0 2147483647",
        )
        return host

    def router(self, name: str) -> Host:
        """A host that forwards both families and does not hold back its ICMP errors."""
        host = self.host(name)
        host.sysctl(
            net__ipv4__ip_forward=1,
            net__ipv6__conf__all__forwarding=1,
            net__ipv4__icmp_ratelimit=0,
            net__ipv6__icmp__ratelimit=0,
        )
        return host

    def link(
        self, one: Host, other: Host, *addresses: str, names: tuple[str, str] | None = None
    ) -> tuple[str, str]:
        """A veth pair; ``addresses`` in pairs, one for each end, with prefix length. Returns both names."""
        ends = names or (_next(one), _next(other))
        ours = ("link", "add", "name", ends[0], "netns", one.namespace, "type", "veth")
        run("ip", *ours, "peer", "name", ends[1], "netns", other.namespace)
        self.address(one, ends[0], addresses[0::2])
        self.address(other, ends[1], addresses[1::2])
        return ends

    def delayed(
        self,
        one: Host,
        other: Host,
        *addresses: str,
        names: tuple[str, str] | None = None,
        delay_ms: float = 5.0,
    ) -> tuple[str, str]:
        """As :meth:`link`, but a packet takes ``delay_ms`` each way. TUN devices: no neighbours."""
        ends = names or (_next(one), _next(other))
        command = (one.namespace, ends[0], other.namespace, ends[1], str(delay_ms))
        relay = subprocess.Popen(
            (sys.executable, str(RELAY), *command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        one.started.append(relay)
        assert relay.stdout is not None
        with relay.stdout as said:
            assert said.readline() == b"ready\n", f"no delayed link between {one.name} and {other.name}"
        self.address(one, ends[0], addresses[0::2])
        self.address(other, ends[1], addresses[1::2])
        return ends

    def address(self, host: Host, name: str, addresses: Sequence[str]) -> None:
        """Gives ``host`` its addresses on that interface, and brings it up."""
        for address in addresses:
            nodad = ("nodad",) if ":" in address else ()
            host.run("ip", "addr", "add", address, "dev", name, *nodad)
        host.run("ip", "link", "set", "dev", name, "up")

    def masquerade(self, router: Host, interface: str) -> None:
        """What leaves by ``interface`` carries the router's own address, both families."""
        kind = "type nat hook postrouting priority 100; policy accept;"
        router.nft(f'table inet nat {{\nchain post {{\n{kind}\noifname "{interface}" masquerade\n}}\n}}\n')

    def etc(self, host: Host, name: str, text: str) -> None:
        """``/etc/NAME`` (``hosts``, ``resolv.conf``) as processes started in ``host`` see it."""
        folder = Path("/etc/netns") / host.namespace
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

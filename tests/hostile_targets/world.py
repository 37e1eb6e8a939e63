"""A host with a network, a default route and a counter of all that it sends, and the one peer that it may
reach."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.hostile_targets.asks import FRIEND, FRIEND6
from tests.hostile_targets.spellings import HOSTS
from tests.lab.netlab import Host, NetLab, run

#: Neighbours are known for good, so that a solicitation too is a packet to somebody who must not be asked.
RULES = f"""
table inet watch {{
  counter friendly {{ }}
  counter leaked {{ }}
  set leaks4 {{ type ipv4_addr; flags dynamic; size 1024; }}
  set leaks6 {{ type ipv6_addr; flags dynamic; size 1024; }}
  chain out {{
    type filter hook output priority raw; policy accept;
    icmpv6 type {{ nd-router-solicit, nd-neighbor-advert, mld-listener-query, mld-listener-report,
                   mld-listener-done, mld2-listener-report }} accept
    ip daddr {FRIEND} counter name friendly accept
    ip6 daddr {FRIEND6} counter name friendly accept
    counter name leaked
    add @leaks4 {{ ip daddr }}
    add @leaks6 {{ ip6 daddr }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """Packets that left: to the friend, and to anybody else, and who these were."""

    friendly: int
    leaked: int
    leaks: tuple[str, ...]


_LIST = ("nft", "-j", "list", "table", "inet", "watch")
_RESET = ("nft", "flush set inet watch leaks4; flush set inet watch leaks6; reset counters table inet watch")


def counted() -> Counted:
    """Since the last time, in the namespace where this runs."""
    listed = run(*_LIST)
    run(*_RESET)
    return _read(listed)


def counted_in(host: Host) -> Counted:
    listed = host.run(*_LIST)
    host.run(*_RESET)
    return _read(listed)


def _read(listed: str) -> Counted:
    counters: dict[str, int] = {}
    leaks: list[str] = []
    for item in json.loads(listed)["nftables"]:
        if "counter" in item:
            counters[item["counter"]["name"]] = item["counter"]["packets"]
        if item.get("set", {}).get("name", "").startswith("leaks"):
            leaks += map(str, item["set"].get("elem", []))
    return Counted(counters["friendly"], counters["leaked"], tuple(leaks))


@contextlib.contextmanager
def world() -> Iterator[Host]:
    """The host whose packets are counted; the peer serves until the block ends."""
    with NetLab() as lab:
        agent, friend = lab.host("agent"), lab.router("friend")
        ours, _ = lab.link(agent, friend, "10.9.0.1/24", f"{FRIEND}/24", "fd09::1/64", f"{FRIEND6}/64")
        mac = json.loads(friend.run("ip", "-j", "link", "show", "eth0"))[0]["address"]
        for address in (FRIEND, FRIEND6):
            agent.run("ip", "neigh", "replace", address, "lladdr", mac, "dev", ours, "nud", "permanent")
        agent.default_via(FRIEND, FRIEND6)
        friend.sysctl(net__ipv4__ip_forward=0, net__ipv6__conf__all__forwarding=0)
        lab.etc(agent, "resolv.conf", f"nameserver {FRIEND}\noptions timeout:2 attempts:2\n")
        lab.etc(agent, "hosts", "".join(f"{address} {name}\n" for name, address in HOSTS.items()))
        peer = (sys.executable, str(Path(__file__).with_name("peer.py")), FRIEND, FRIEND6)
        with friend.start(*peer, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            with process.stdout as said:
                assert said.readline() == b"ready\n"
                agent.nft(RULES)
                yield agent


def asked(agent: Host, way: str) -> dict[str, dict[str, object]]:
    """What :mod:`tests.hostile_targets.prober` saw, by the names of its asks."""
    command = agent.command(sys.executable, "-m", "tests.hostile_targets.prober", way)
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, dict[str, object]] = json.loads(done.stdout)
    return found

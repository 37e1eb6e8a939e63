"""A host with a real ``mesh-agent run`` in a namespace whose packets the kernel counts, and what its process
costs."""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from probemesh_shared.identity.files import Identity, save_identity

from tests.hostile.portal import way_in, way_out
from tests.lab.netlab import Host, NetLab

AGENT, FRIEND = "10.9.0.1", "10.9.0.2"
CONTROLLED, LISTENS = 7400, 7401
PACKETS_PER_S, CONCURRENT = 200, 64
DENIED = "10.9.0.64"
POLICY = f"""
[deny]
cidrs = ["{DENIED}/26"]
names = ["*.payroll.internal"]
ports = [25]
[limits]
packets_per_s = {PACKETS_PER_S}
concurrent = {CONCURRENT}
"""
#: All that leaves but for the sessions themselves. ``tried`` are packets that open something: each is one for
#: which the owner's rate was asked.
RULES = f"""
table inet watch {{
  counter tried {{ }}
  counter leaked {{ }}
  set leaks {{ type ipv4_addr; flags dynamic; size 1024; }}
  chain out {{
    type filter hook output priority raw; policy accept;
    tcp dport {CONTROLLED} accept
    tcp sport {LISTENS} accept
    icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report }} accept
    ip daddr {FRIEND} tcp dport 25 counter name leaked
    ip daddr {FRIEND} tcp flags & (syn | ack) == syn counter name tried accept
    ip daddr {FRIEND} meta l4proto {{ udp, icmp }} counter name tried accept
    ip daddr {FRIEND} accept
    counter name leaked
    add @leaks {{ ip daddr }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Counted:
    tried: int
    leaked: int
    leaks: tuple[str, ...]


@dataclass
class HostedAgent:
    """``reached``: where a foe in this process dials it. ``log`` is what it said."""

    host: Host
    friend: Host
    process: "subprocess.Popen[bytes]"
    log: Path
    reached: str

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def resident(self) -> int:
        return self._memory("VmRSS")

    def most_resident(self) -> int:
        """Since :meth:`measured_anew`."""
        return self._memory("VmHWM")

    def measured_anew(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _memory(self, field: str) -> int:
        """proc(5): in kB there."""
        found = re.search(
            rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{self.process.pid}/status").read_text(), re.M
        )
        assert found is not None
        return int(found[1]) << 10

    def counted(self) -> Counted:
        counters: dict[str, int] = {}
        leaks: list[str] = []
        for item in json.loads(self.host.run("nft", "-j", "list", "table", "inet", "watch"))["nftables"]:
            if "counter" in item:
                counters[item["counter"]["name"]] = item["counter"]["packets"]
            if "set" in item:
                leaks += map(str, item["set"].get("elem", []))
        return Counted(counters["tried"], counters["leaked"], tuple(leaks))


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def hosted(folder: Path, identity: Identity, controller: int | None = None) -> Iterator[HostedAgent]:
    """The agent listens at ``reached``, and dials its controller, which is local port ``controller``: nobody
    where that is None."""
    state = folder / "state"
    save_identity(state / "agent", identity)
    (state / "agent" / "agent.toml").write_text(f'controller = "{FRIEND}:{CONTROLLED}"\n')
    (folder / "policy.toml").write_text(POLICY)
    with NetLab() as lab:
        host, friend = lab.host("agent"), lab.host("friend")
        lab.link(host, friend, f"{AGENT}/24", f"{FRIEND}/24")
        host.default_via(FRIEND)
        lab.etc(host, "resolv.conf", f"nameserver {FRIEND}\noptions timeout:1 attempts:1\n")
        host.nft(RULES)
        command = [sys.executable, "-m", "probemesh_agent", "run", "--state", str(state)]
        command += ["--policy", str(folder / "policy.toml"), "--listen", f"{AGENT}:{LISTENS}"]
        log = folder / "agent.log"
        with contextlib.ExitStack() as stack:
            if controller is not None:
                stack.enter_context(way_out(friend, (FRIEND, CONTROLLED), controller))
            said = stack.enter_context(log.open("wb"))
            process = stack.enter_context(host.start(*command, stdout=said, stderr=said))
            until(lambda: "listening on" in log.read_text(), 60, "the agent listens")
            reached = stack.enter_context(way_in(friend, (AGENT, LISTENS)))
            yield HostedAgent(host, friend, process, log, reached)

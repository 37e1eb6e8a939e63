"""What reaches one target of all that it is asked for, counted by the kernel on the way out."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.budgets.sizes import ALONE_S, MESH_S, OF_AGENT, OF_MESH
from tests.lab.netlab import Host, NetLab

pytestmark = [pytest.mark.netns, pytest.mark.slow]

VICTIM = "10.9.0.2"
PROGRAM = Path(__file__).with_name("in_namespace.py")
#: Seconds for which a busy machine may hold our program up: what was due meanwhile then leaves together.
HELD_UP_S = 3
#: Programs that get no processor send far less than they may; the counters see what they do.
_SOME = 1


@pytest.fixture
def source() -> Iterator[Host]:
    """Everybody who asks, with the victim (where all ports are closed) behind a link."""
    with NetLab() as lab:
        host, victim = lab.host("s"), lab.host("v")
        lab.link(host, victim, "10.9.0.1/24", f"{VICTIM}/24")
        victim.sysctl(net__ipv4__icmp_ratelimit=0)
        lab.etc(host, "resolv.conf", f"nameserver {VICTIM}\n")
        yield host


def count(host: Host, packets: int, connections: int) -> None:
    """Counters of what leaves for the victim, and of what is more than may."""

    def over(rate: int) -> str:
        return f"limit rate over {rate}/second burst {rate * HELD_UP_S} packets"

    syn = f"ip daddr {VICTIM} tcp flags & (syn | ack) == syn"
    rest = f"ip daddr {VICTIM} meta l4proto {{ icmp, udp }}"
    names = ("opened", "opened_over", "sent", "sent_over")
    counters = "\n".join(f"counter {name} {{}}" for name in names)
    rules = [
        f"{syn} counter name opened",
        f"{syn} {over(connections)} counter name opened_over",
        f"{rest} counter name sent",
        f"{rest} {over(packets)} counter name sent_over",
    ]
    chain = "type filter hook output priority 0; policy accept;\n" + "\n".join(rules)
    host.nft(f"table inet c {{\n{counters}\nchain out {{\n{chain}\n}}\n}}\n")


def counted(host: Host) -> dict[str, int]:
    found = json.loads(host.run("nft", "-j", "list", "counters", "table", "inet", "c"))["nftables"]
    return {one["counter"]["name"]: one["counter"]["packets"] for one in found if "counter" in one}


def asked(host: Host, way: str, folder: Path) -> dict[str, int]:
    done = subprocess.run(
        host.command(sys.executable, str(PROGRAM), way, str(folder), VICTIM),
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, int] = json.loads(done.stdout)
    return told


def test_a_controller_that_was_taken_over_makes_no_agent_flood_a_host(source: Host, tmp_path: Path) -> None:
    """T3, T14: two dozen jobs of every kind at once, without pacing."""
    packets, connections = OF_AGENT
    (tmp_path / "policy.toml").write_text(
        f"[limits]\ntarget_packets_per_s = {packets}\ntarget_connections_per_s = {connections}\n"
    )
    count(source, packets, connections)
    told = asked(source, "alone", tmp_path)
    seen = counted(source)
    assert seen["opened_over"] == seen["sent_over"] == 0, (seen, told)
    assert _SOME <= seen["opened"] <= connections * (ALONE_S + HELD_UP_S), seen
    assert _SOME <= seen["sent"] <= packets * (ALONE_S + HELD_UP_S), seen


def test_six_agents_and_four_runs_stay_in_what_the_mesh_lets_one_target_have(
    source: Host, tmp_path: Path
) -> None:
    """T14, by the programs: two dozen jobs that would be 480 connections and more in the first second."""
    packets, connections = OF_MESH
    (tmp_path / "limits.toml").write_text(
        f'[[budget]]\nnetworks = ["10.9.0.0/24"]\n'
        f"packets-per-s = {packets}\nconnections-per-s = {connections}\n"
    )
    count(source, packets, connections)
    told = asked(source, "mesh", tmp_path)
    seen = counted(source)
    assert seen["opened_over"] == seen["sent_over"] == 0, (seen, told)
    assert _SOME <= seen["opened"] <= connections * (MESH_S + HELD_UP_S), (seen, told)
    assert _SOME <= seen["sent"] <= packets * (MESH_S + HELD_UP_S), (seen, told)

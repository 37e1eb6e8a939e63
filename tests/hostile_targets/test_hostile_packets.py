"""Packets that no kernel would send, against every kind that reads such: ICMP and its errors, TCP, UDP, whole
and cut. What holds of hostile servers holds here."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.hostile_targets.crafted import DEVICE
from tests.hostile_targets.harness import Victim, judge, module, victim
from tests.hostile_targets.meetings import CRAFTED
from tests.lab.netlab import NetLab

pytestmark = pytest.mark.netns

NO_SERVERS = '{"tcp": {}, "udp": {}}'


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    folder = tmp_path_factory.mktemp("crafted")
    (folder / "ca.pem").write_text("")
    with NetLab() as lab:
        agent, foe = lab.host("agent"), lab.router("foe")
        lab.link(agent, foe, "10.8.0.1/24", "10.8.0.2/24", "fd08::1/64", "fd08::2/64")
        agent.default_via("10.8.0.2", "fd08::2")
        foe.sysctl(net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__default__rp_filter=0)
        with foe.start(*module("crafted"), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            with process.stdout as said:
                assert said.readline() == b"ready\n"
            foe.run("ip", "link", "set", DEVICE, "up")
            foe.route("10.66.0.0/16", "dev", DEVICE)
            foe.route("fd66::/16", "dev", DEVICE)
            prefix = agent.command()
            with victim(folder, NO_SERVERS, *prefix, warming=[*CRAFTED][:1] * 2) as made:
                yield made


@pytest.mark.parametrize("name", CRAFTED)
def test_hostile_packets_do_no_harm(met: Victim, name: str) -> None:
    told = met.meet(name)
    judge(told, met.log)
    assert any(job["outcomes"] for job in told["jobs"].values())


def test_the_good_reply_wins_though_it_comes_last(met: Victim) -> None:
    """Behind those with another id, number or nonce, cut, empty and too long."""
    jobs = met.meet(next(name for name in CRAFTED if "wrong_replies" in name))["jobs"]
    for family in "46":
        job = next(one for name, one in jobs.items() if name.endswith(f"{family} icmp"))
        assert job["outcomes"] == ["ok"] or job["waited_s"] > 0.3, job

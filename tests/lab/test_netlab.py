"""The lab itself: packets pass, rules bite, and nothing is left behind."""

import subprocess

import pytest

from tests.lab.netlab import Host, NetLab, run

pytestmark = pytest.mark.netns


def ping(lab_host: Host, address: str) -> bool:
    # the first IPv6 packets of a new link may wait for its neighbours
    command = lab_host.command("ping", "-c5", "-i0.3", "-W1", address)
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.tool("ping")
def test_two_hosts_meet_through_a_router_and_leave_nothing() -> None:
    with NetLab() as lab:
        a, r, b = lab.host("a"), lab.router("r"), lab.host("b")
        lab.link(a, r, "10.1.0.2/24", "10.1.0.1/24", "2001:db8:1::2/64", "2001:db8:1::1/64")
        lab.link(r, b, "10.2.0.1/24", "10.2.0.2/24", "2001:db8:2::1/64", "2001:db8:2::2/64")
        a.default_via("10.1.0.1", "2001:db8:1::1")
        b.default_via("10.2.0.1", "2001:db8:2::1")
        assert ping(a, "10.2.0.2")
        assert ping(a, "2001:db8:2::2")
        b.chain("input", "icmp type echo-request drop")
        assert not ping(a, "10.2.0.2")
        b.nft_flush()
        assert ping(a, "10.2.0.2")
        lab.etc(a, "hosts", "10.2.0.2 b.lab\n")
        assert "b.lab" in a.run("cat", "/etc/hosts")
        with a.start("sleep", "60") as sleeper:
            assert sleeper.poll() is None
        assert sleeper.poll() is not None
        prefix = lab.prefix
        assert prefix in run("ip", "netns", "list")
    assert prefix not in run("ip", "netns", "list")


@pytest.mark.tool("ping")
def test_a_delayed_link_takes_its_time_and_loses_nothing_of_a_burst() -> None:
    with NetLab() as lab:
        a, r = lab.host("a"), lab.router("r")
        lab.delayed(a, r, "10.1.0.2/24", "10.1.0.1/24", names=("eth0", "lan"), delay_ms=5.0)
        said = a.run("ping", "-q", "-c", "100", "-l", "50", "-i", "0.002", "-s", "1472", "10.1.0.1")
        assert " 0% packet loss" in said, said
        fastest = float(said.rsplit("= ", 1)[1].split("/")[0])
        assert 10.0 <= fastest < 15.0, said
        a.run("ping", "-q", "-c", "1", "-M", "do", "-s", "1472", "10.1.0.1")

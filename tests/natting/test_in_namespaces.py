"""Real agents without privilege behind real NATs and firewalls, made of nftables; one mesh for all.

::

    A  10.1.0.2 ──┐
    A2 10.1.1.2 ──┤ R 198.51.100.1 (.7, .8) ── S ──┬── B 203.0.113.2 .3
    D 192.168.7.2 ── Q 10.1.2.2 ──┘                └── C 192.0.2.2
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wanting
from tests.lab.labs import Link, Topology
from tests.lab.mesh import Mesh
from tests.lab.netlab import NetLab
from tests.lab.programs import for_nobody
from tests.lab.stage import Stage

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft"), pytest.mark.slow, pytest.mark.timeout(300)]

EI, AD, APD = "endpoint-independent", "address-dependent", "address-and-port-dependent"
SET = ("undetermined", [EI, APD])
OUT = "198.51.100.1"


def link(one: str, other: str, here: str, there: str) -> Link:
    return Link((one, other), (tuple(here.split()), tuple(there.split())))


TOPOLOGY = Topology(
    name="nat",
    about="two agents and a nested one behind R, two agents outside",
    drawing=__doc__ or "",
    hosts=("a", "a2", "d", "b", "c"),
    routers=("q", "r", "s"),
    links=(
        link("a.eth0", "r.lan", "10.1.0.2/24 2001:db8:1::2/64", "10.1.0.1/24 2001:db8:1::1/64"),
        link("a2.eth0", "r.lan2", "10.1.1.2/24", "10.1.1.1/24"),
        link("d.eth0", "q.lan", "192.168.7.2/24", "192.168.7.1/24"),
        link("q.wan", "r.lan3", "10.1.2.2/24", "10.1.2.1/24"),
        link("r.wan", "s.wan", f"{OUT}/24 2001:db8:2::1/64", "198.51.100.2/24 2001:db8:2::2/64"),
        link(
            "s.b",
            "b.eth0",
            "203.0.113.1/24 2001:db8:3::1/64",
            "203.0.113.2/24 203.0.113.3/24 2001:db8:3::2/64",
        ),
        link("s.c", "c.eth0", "192.0.2.1/24 2001:db8:4::1/64", "192.0.2.2/24 2001:db8:4::2/64"),
    ),
    routes={
        "a": ("default via 10.1.0.1", "default via 2001:db8:1::1"),
        "a2": ("default via 10.1.1.1",),
        "d": ("default via 192.168.7.1",),
        "q": ("default via 10.1.2.1",),
        "b": ("default via 203.0.113.1", "default via 2001:db8:3::1"),
        "c": ("default via 192.0.2.1", "default via 2001:db8:4::1"),
        "r": ("default via 198.51.100.2", "192.168.7.0/24 via 10.1.2.2", "default via 2001:db8:2::2"),
        "s": (
            "10.1.0.0/16 via 198.51.100.1",
            "192.168.7.0/24 via 198.51.100.1",
            "2001:db8:1::/64 via 2001:db8:2::1",
        ),
    },
    agents={
        "a": ("10.1.0.2", "2001:db8:1::2"),
        "a2": ("10.1.1.2",),
        "d": ("192.168.7.2",),
        "b": ("203.0.113.2", "203.0.113.3", "2001:db8:3::2"),
        "c": ("192.0.2.2", "2001:db8:4::2"),
    },
    path=(),
    path_back=(),
    run={},
    standing={},
)


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="probemesh-nat-")))
        folder.chmod(0o755)  # agents belong to nobody
        net = held.enter_context(NetLab())
        stage = Stage(net, TOPOLOGY)
        held.callback(stage.close)
        program = held.enter_context(for_nobody())
        if program is None:
            wanting("no interpreter that uid 65534 could use")
        yield held.enter_context(Mesh(stage, folder, program, False, False).running())


@pytest.fixture(autouse=True)
def flushed(mesh: Mesh) -> Iterator[None]:
    yield
    for name in ("q", "r"):
        mesh.stage[name].nft_flush()


def source_nat(how: str, interface: str = "wan", more: str = "") -> str:
    return (
        f"table ip n {{\nchain post {{\ntype nat hook postrouting priority 100;\n{more}\n"
        f'oifname "{interface}" {how}\n}}\n}}\n'
    )


def inward(rule: str) -> str:
    return f"table ip n {{\nchain pre {{\ntype nat hook prerouting priority -100;\n{rule}\n}}\n}}\n"


FIREWALL = (
    "table inet f {\nchain fw {\ntype filter hook forward priority 0; policy drop;\n"
    'ct state established,related accept\niifname != "wan" accept\n}\n}\n'
)


def ask(mesh: Mesh, selector: str, *more: str, code: int = 0) -> dict[str, dict[str, Any]]:
    told = mesh.meshctl("nat", selector, *more, "-o", "json", seconds=200)
    assert told.code == code, f"{told.code}: {told.out}{told.errors}"
    return {one["agent"]: one for one in told.json()["agents"]}


def mapping(one: dict[str, Any]) -> tuple[str, list[str]]:
    return one["mapping"], one["mapping_alternatives"]


def without_neighbour(mesh: Mesh) -> None:
    """A second agent behind R would force a clash: here it is to be as if there were none."""
    mesh.stage["r"].chain("forward", 'iifname "lan2" oifname "wan" drop', 'iifname "lan3" oifname "wan" drop')


# --- one agent behind a NAT ---------------------------------------------------------------------------------


def test_masquerade_keeps_ports_and_so_leaves_a_set(mesh: Mesh) -> None:
    without_neighbour(mesh)
    mesh.stage["r"].nft(source_nat("masquerade"))
    one = ask(mesh, "a")["a"]
    assert (one["behind_nat"], one["mapped_addresses"], one["layers"]) == (True, [OUT], 1)
    assert mapping(one) == SET
    assert (one["filtering"], one["filtering_alternatives"]) == (APD, [])
    assert (one["port_preservation"], one["hairpinning"], one["firewall_only"]) == (True, False, False)
    assert one["own_addresses"][0] == "10.1.0.2"


@pytest.mark.parametrize("how", ["masquerade random", "masquerade fully-random"])
def test_random_ports_depend_on_the_destination(mesh: Mesh, how: str) -> None:
    mesh.stage["r"].nft(source_nat(how))
    one = ask(mesh, "a")["a"]
    assert (mapping(one), one["filtering"]) == ((APD, []), APD)
    assert (one["port_preservation"], one["hairpinning"]) == (False, None)


def test_what_is_forwarded_inward_is_filtered_by_nobody(mesh: Mesh) -> None:
    without_neighbour(mesh)
    mesh.stage["r"].nft(source_nat("masquerade") + inward('iifname "wan" meta l4proto udp dnat to 10.1.0.2'))
    one = ask(mesh, "a")["a"]
    assert mapping(one) == SET
    assert one["filtering"] == EI


def test_an_address_of_its_own_outside(mesh: Mesh) -> None:
    """1:1, both ways, and reachable from inside too."""
    mesh.stage["r"].run("ip", "addr", "add", "198.51.100.7/24", "dev", "wan")
    try:
        mesh.stage["r"].nft(
            source_nat("masquerade", more="ip saddr 10.1.0.2 snat to 198.51.100.7")
            + inward("ip daddr 198.51.100.7 dnat to 10.1.0.2")
        )
        one = ask(mesh, "a")["a"]
    finally:
        mesh.stage["r"].run("ip", "addr", "del", "198.51.100.7/24", "dev", "wan")
    assert one["mapped_addresses"] == ["198.51.100.7"]
    assert mapping(one) == SET
    assert (one["filtering"], one["hairpinning"], one["hairpin_source"]) == (EI, True, "external")


def test_ports_of_a_range_are_not_kept(mesh: Mesh) -> None:
    mesh.stage["r"].nft(source_nat("meta l4proto udp masquerade to :20000-29999"))
    one = ask(mesh, "a")["a"]
    assert mapping(one) == (EI, [])
    assert one["port_preservation"] is False


# --- several behind one NAT ---------------------------------------------------------------------------------


def test_a_second_agent_proves_what_masquerade_is(mesh: Mesh) -> None:
    mesh.stage["r"].nft(source_nat("masquerade"))
    told = ask(mesh, "a,a2")
    for one in told.values():
        assert mapping(one) == (APD, [])
        assert (one["filtering"], one["port_preservation"], one["mapped_addresses"]) == (APD, True, [OUT])
        assert one["hairpinning"] is False
        seen = {each["agent"]: each["outside"] for each in one["reflectors"]}
        assert seen["b"] is seen["c"] is True


def test_a_nat_behind_a_nat(mesh: Mesh) -> None:
    mesh.stage["r"].nft(source_nat("masquerade"))
    mesh.stage["q"].nft(source_nat("masquerade"))
    one = ask(mesh, "d")["d"]
    assert (one["behind_nat"], one["mapped_addresses"]) == (True, [OUT])
    assert (one["layers"], one["layers_least"], one["layers_most"]) == (2, 2, 2)
    assert {each["agent"]: each["sees"] for each in one["reflectors"]}["a"] == ["10.1.2.2"]


def test_a_nat_behind_a_nat_with_nobody_in_between(mesh: Mesh) -> None:
    mesh.stage["r"].nft(source_nat("masquerade"))
    mesh.stage["q"].nft(source_nat("masquerade"))
    mesh.stage["r"].chain("forward", 'iifname "lan3" oifname != "wan" drop')
    one = ask(mesh, "d")["d"]
    assert (one["layers"], one["layers_least"], one["layers_most"]) == (None, 1, 2)
    assert any("192.168.7.1" in note for note in one["notes"])


def test_a_router_before_the_only_nat_is_not_taken_for_one(mesh: Mesh) -> None:
    mesh.stage["r"].nft(source_nat("masquerade"))
    one = ask(mesh, "d")["d"]
    assert one["behind_nat"] is True
    assert one["layers"] is None, "it may be one, it may be two"


# --- no NAT -------------------------------------------------------------------------------------------------


def test_nothing_in_between(mesh: Mesh) -> None:
    told = ask(mesh, "all")
    assert {one["behind_nat"] for one in told.values()} == {False}
    assert {one["filtering"] for one in told.values()} == {EI}
    assert {one["firewall_only"] for one in told.values()} == {False}
    assert all(one["mapped_addresses"] == [] and one["layers"] == 0 for one in told.values())


def test_a_stateful_firewall_alone(mesh: Mesh) -> None:
    mesh.stage["r"].nft(FIREWALL)
    one = ask(mesh, "a")["a"]
    assert (one["behind_nat"], one["firewall_only"], one["filtering"]) == (False, True, APD)
    assert (one["mapping"], one["port_preservation"]) == (EI, True)


def test_ipv6_behind_a_firewall(mesh: Mesh) -> None:
    mesh.stage["r"].nft(FIREWALL)
    one = ask(mesh, "a", "-6")["a"]
    assert (one["family"], one["behind_nat"], one["filtering"]) == ("ipv6", False, APD)
    assert one["own_addresses"] and all(":" in text for text in one["own_addresses"])


def test_ipv6_translated(mesh: Mesh) -> None:
    mesh.stage["r"].nft(source_nat("masquerade random").replace("table ip ", "table ip6 "))
    one = ask(mesh, "a", "-6")["a"]
    assert (one["behind_nat"], one["mapped_addresses"]) == (True, ["2001:db8:2::1"])
    assert (one["mapping"], one["filtering"]) == (APD, APD)


# --- what cannot be told ------------------------------------------------------------------------------------


def test_udp_that_does_not_get_out(mesh: Mesh) -> None:
    mesh.stage["r"].chain("forward", "meta l4proto udp drop")
    one = ask(mesh, "a", code=1)["a"]
    assert one["behind_nat"] is None
    assert (one["mapping"], one["mapping_alternatives"]) == ("undetermined", [EI, AD, APD])
    assert any("UDP does not get out" in text for text in one["missing"])


def test_udp_that_does_not_get_out_but_in(mesh: Mesh) -> None:
    mesh.stage["r"].chain("forward", 'iifname "lan" meta l4proto udp drop')
    one = ask(mesh, "a")["a"]
    assert (one["behind_nat"], one["filtering"]) == (False, EI)
    assert any("by its own address 10.1.0.2" in note for note in one["notes"])
    assert any("UDP does not get out" in text for text in one["missing"])


def test_udp_whose_answers_do_not_come_in(mesh: Mesh) -> None:
    mesh.stage["r"].nft(source_nat("masquerade"))
    mesh.stage["r"].chain("forward", 'iifname "wan" meta l4proto udp drop')
    one = ask(mesh, "a")["a"]
    assert (one["behind_nat"], one["mapped_addresses"]) == (True, [OUT])
    assert one["filtering"] == "undetermined"
    assert any("not even what was asked for" in text for text in one["missing"])


def test_two_percent_of_loss(mesh: Mesh) -> None:
    mesh.stage["r"].nft(source_nat("masquerade random"))
    mesh.stage["r"].chain("forward", "numgen random mod 100 < 2 drop")
    for _ in range(3):
        one = ask(mesh, "a")["a"]
        assert (one["behind_nat"], one["mapping"], one["filtering"]) == (True, APD, APD)


# --- lifetime, output ---------------------------------------------------------------------------------------


def test_how_long_a_silent_mapping_lives(mesh: Mesh) -> None:
    names = ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream")
    mesh.stage["r"].nft(source_nat("masquerade random"))  # which loads what the settings are of
    with contextlib.ExitStack() as held:
        for name in names:
            key = f"net.netfilter.{name}"
            before = mesh.stage["r"].run("sysctl", "-n", key).strip()
            mesh.stage["r"].run("sysctl", "-qw", f"{key}=5")
            held.callback(mesh.stage["r"].run, "sysctl", "-qw", f"{key}={before}")
        one = ask(mesh, "a", "--lifetime", "12")["a"]
    assert one["lifetime_s"] <= 5.5
    assert 4.5 <= one["lifetime_most_s"] <= 7


def test_the_table_says_it_in_words(mesh: Mesh) -> None:
    without_neighbour(mesh)
    mesh.stage["r"].nft(source_nat("masquerade"))
    told = mesh.meshctl("nat", "a")
    assert told.code == 0
    head, row = told.out.splitlines()[:2]
    assert head.split()[:3] == ["AGENT", "SITE", "NAT"]
    assert OUT in row and "undetermined" in row
    assert f"mapping is {EI} or {APD}" in told.out
    assert "To know more" in told.out and "second agent" in told.out
    assert told.out.endswith("1 of 1 agent behind a NAT\n")

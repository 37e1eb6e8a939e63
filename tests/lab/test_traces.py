"""Traces and path MTU over three routers, by an agent without any capability: a – r – s – t – b."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.lab.netlab import Host, NetLab

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(300)]

BIN = Path(sys.executable).parent
TARGET, TARGET6 = "10.4.0.2", "2001:db8:4::2"
ROUTERS = ["10.1.0.2", "10.2.0.2", "10.3.0.2"]
ROUTERS6 = ["2001:db8:1::2", "2001:db8:2::2", "2001:db8:3::2"]
HOME = "10.9.0.2"
CLOSED, OPEN, ASIDE = 5999, 7001, 9000
WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
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


class Row:
    """Five namespaces in a row, and what differs from one test to the next."""

    def __init__(self, lab: NetLab) -> None:
        self.lab = lab
        self.a, self.b = lab.host("a"), lab.host("b")
        self.r, self.s, self.t = (lab.router(name) for name in "rst")
        self.home = lab.host("home")
        stations = [self.a, self.r, self.s, self.t, self.b]
        for number, (one, other) in enumerate(itertools.pairwise(stations), 1):
            net, net6 = f"10.{number}.0", f"2001:db8:{number}:"
            lab.link(one, other, f"{net}.1/24", f"{net}.2/24", f"{net6}:1/64", f"{net6}:2/64")
        lab.link(self.home, self.s, f"{HOME}/24", "10.9.0.1/24")
        self.home.default_via("10.9.0.1")
        self.a.default_via("10.1.0.2", "2001:db8:1::2")
        self.r.default_via("10.2.0.2", "2001:db8:2::2")
        self.s.default_via("10.3.0.2", "2001:db8:3::2")
        self.s.route("10.1.0.0/24", "via", "10.2.0.1")
        self.s.route("2001:db8:1::/64", "via", "2001:db8:2::1")
        self.t.default_via("10.3.0.1", "2001:db8:3::1")
        self.b.default_via("10.4.0.1", "2001:db8:4::1")

    @property
    def routers(self) -> tuple[Host, Host, Host]:
        return self.r, self.s, self.t

    def reset(self) -> None:
        for host in (self.a, *self.routers, self.b):
            host.nft_flush()
            for family in ("-4", "-6"):
                host.run("ip", family, "route", "flush", "cache")

    def probe(self, target: str, kind: str, *words: str, raw: bool = False) -> dict[str, Any]:
        """The one measurement of an agent that has no capability, or with ``raw`` all of them."""
        program = (str(BIN / "mesh-agent"), "probe", target, "--kind", kind, "-o", "json", *words)
        command = self.a.command(*(() if raw else WITHOUT_CAPABILITIES), *program)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout, done.stderr
        (vantage,) = json.loads(done.stdout)["vantages"]
        (row,) = vantage["measurements"]
        return row


@pytest.fixture(scope="module")
def made() -> Iterator[Row]:
    with NetLab() as lab:
        row = Row(lab)
        with row.b.start(sys.executable, "-c", LISTENER, str(OPEN)):
            time.sleep(0.5)
            yield row


@pytest.fixture
def row(made: Row) -> Iterator[Row]:
    yield made
    made.reset()


def firsts(measured: dict[str, Any]) -> list[str | None]:
    """Who answered first at each hop."""
    return [hop["addresses"][0] if hop["addresses"] else None for hop in measured["detail"]["hops"]]


def marks(measured: dict[str, Any], hop: int) -> list[str]:
    return measured["detail"]["hops"][hop - 1]["marks"]


@pytest.mark.parametrize(
    "target", [f"{TARGET}:{OPEN}", f"{TARGET}:{CLOSED}", f"udp://{TARGET}:33434", TARGET]
)
def test_every_hop_is_named_on_the_way(row: Row, target: str) -> None:
    told = row.probe(target, "trace")
    assert (told["outcome"], told["detail"]["distance"], told["detail"]["ended"]) == ("ok", 4, "target")
    assert firsts(told) == [*ROUTERS, TARGET]
    assert [hop["lost"] for hop in told["detail"]["hops"]] == [0, 0, 0, 0]
    assert told["rtt_ms"] is not None and told["detail"]["stand_in"] is None
    assert [hop["return_hops"] for hop in told["detail"]["hops"][:3]] == [1, 2, 3]


@pytest.mark.parametrize("target", [f"[{TARGET6}]:{OPEN}", f"udp://[{TARGET6}]:33434", TARGET6])
def test_so_it_is_by_ipv6(row: Row, target: str) -> None:
    told = row.probe(target, "trace")
    assert (told["outcome"], firsts(told)) == ("ok", [*ROUTERS6, TARGET6])


def test_all_packets_are_of_one_flow(row: Row) -> None:
    told = row.probe(f"{TARGET}:{CLOSED}", "trace")
    ports = {answer["quoted_port"] for hop in told["detail"]["hops"][:3] for answer in hop["answers"]}
    assert ports == {told["detail"]["local_port"]}


def test_routers_that_answer_once_a_second_are_no_silent_hops(row: Row) -> None:
    for router in row.routers:
        router.sysctl(net__ipv4__icmp_ratelimit=1000)
    try:
        for _ in range(3):  # their bursts are used up after the second one
            told = row.probe(TARGET, "trace")
            assert firsts(told) == [*ROUTERS, TARGET]
    finally:
        for router in row.routers:
            router.sysctl(net__ipv4__icmp_ratelimit=0)


def test_a_router_that_says_nothing_ends_nothing(row: Row) -> None:
    row.s.chain("output", "icmp type time-exceeded drop")
    told = row.probe(f"{TARGET}:{OPEN}", "trace")
    assert (told["outcome"], firsts(told)) == ("ok", [ROUTERS[0], None, ROUTERS[2], TARGET])
    assert marks(told, 2) == ["silent"]


def test_a_drop_shows_the_last_hop_that_answered(row: Row) -> None:
    row.s.chain("forward", f"tcp dport {OPEN} drop")
    told = row.probe(f"{TARGET}:{OPEN}", "trace")
    assert (told["outcome"], told["detail"]["ended"], told["detail"]["distance"]) == (
        "timeout",
        "silence",
        None,
    )
    assert firsts(told) == [*ROUTERS[:2], None, None, None, None]
    assert row.probe(TARGET, "trace")["outcome"] == "ok", "what is not filtered gets there"


@pytest.mark.parametrize(
    ("target", "router", "code"), [(TARGET, ROUTERS[1], (3, 13)), (f"[{TARGET6}]", ROUTERS6[1], (1, 1))]
)
def test_who_rejects_is_named(row: Row, target: str, router: str, code: tuple[int, int]) -> None:
    row.s.chain("forward", f"tcp dport {OPEN} reject with icmpx type admin-prohibited")
    told = row.probe(f"{target}:{OPEN}", "trace")
    icmp = told["failure"]["icmp"]
    assert (told["outcome"], icmp["sender"], (icmp["type"], icmp["code"])) == ("prohibited", router, code)
    assert "refuses" in marks(told, 3) and told["detail"]["ended"] == "error"


@pytest.mark.parametrize(
    ("target", "router"), [(TARGET, ROUTERS[2]), (f"[{TARGET6}]", ROUTERS6[2])], ids=["ipv4", "ipv6"]
)
def test_a_reset_in_the_target_s_name_is_unmasked(row: Row, target: str, router: str) -> None:
    row.s.chain("forward", f"tcp dport {OPEN} reject with tcp reset")
    told = row.probe(f"{target}:{OPEN}", "trace")
    assert (told["detail"]["distance"], told["detail"]["stand_in"]) == (3, router)
    assert "stand-in" in marks(told, 3)


def test_a_splitter_connects_at_its_own_hop(row: Row) -> None:
    rules = f"chain pre {{ type nat hook prerouting priority -100; tcp dport {OPEN} redirect to :{ASIDE}; }};"
    row.r.nft(f"table ip n {{ {rules} }}")
    with row.r.start(sys.executable, "-c", LISTENER, str(ASIDE)):
        time.sleep(0.5)
        told = row.probe(f"{TARGET}:{OPEN}", "trace")
    assert (told["detail"]["distance"], told["detail"]["stand_in"]) == (1, ROUTERS[0])
    assert told["detail"]["hops"][0]["answers"][0]["how"] == "syn-ack"


def test_a_clamped_mss_is_seen_behind_who_clamps_it(row: Row) -> None:
    row.r.chain("forward", "tcp flags syn tcp option maxseg size set 1300")
    told = row.probe(f"{TARGET}:{OPEN}", "trace")
    assert "mss-changed" not in marks(told, 1) and "mss-changed" in marks(told, 2)
    assert told["detail"]["hops"][1]["answers"][0]["quoted_mss"] == 1300
    assert "mss-changed" not in marks(told, 3), "said once"


def test_a_nat_that_does_not_mend_its_quotations_is_noticed_behind_it(row: Row) -> None:
    """Packets on veth carry an unfinished checksum, which Linux does not mend in the quotation."""
    row.lab.masquerade(row.s, "eth1")
    told = row.probe(f"{TARGET}:{OPEN}", "trace")
    assert told["outcome"] == "ok" and told["detail"]["rewritten_at"] == 3
    assert "rewritten" in marks(told, 3) and "rewritten" not in marks(told, 2)


@pytest.mark.parametrize("target", [f"{TARGET}:{OPEN}", f"udp://{TARGET}:33434", TARGET])
def test_a_nat_that_leaves_quotations_alone_is_seen_with_cap_net_raw_only(row: Row, target: str) -> None:
    """Stateless: what the routers behind it quote is no packet of ours. Of a connection the kernel tells it
    to nobody; sockets for datagrams and pings, which are known by port or identifier, hear it as if nothing
    were odd."""
    hook = "type filter hook"
    there = f"chain post {{ {hook} postrouting priority 100; ip saddr 10.1.0.1 ip saddr set 10.3.0.1; }};"
    back = f"chain pre {{ {hook} prerouting priority -300; ip daddr 10.3.0.1 ip daddr set 10.1.0.1; }};"
    row.s.nft(f"table ip n {{ {there} {back} }}")
    plain = row.probe(target, "trace", "--count", "1")
    seen = None if target.endswith(str(OPEN)) else ROUTERS[2]
    assert firsts(plain)[:3] == [*ROUTERS[:2], seen] and plain["detail"]["rewritten_at"] is None
    told = row.probe(target, "trace", "--count", "1", raw=True)
    assert firsts(told)[:3] == ROUTERS and told["detail"]["rewritten_at"] == 3
    assert "rewritten" in marks(told, 3)
    sources = [hop["answers"][0]["quoted_source"] for hop in told["detail"]["hops"][:3]]
    assert sources == ["10.1.0.1", "10.1.0.1", "10.3.0.1"]


def test_a_dialled_address_that_lets_hops_run_out_is_a_router_s(row: Row) -> None:
    rules = (
        f"chain pre {{ type nat hook prerouting priority -100; tcp dport 8080 dnat to {TARGET}:{OPEN}; }};"
    )
    row.s.nft(f"table ip n {{ {rules} }}")
    told = row.probe(f"{ROUTERS[1]}:8080", "trace")
    assert told["outcome"] == "ok" and "destination-nat" in marks(told, 2)


def test_a_loop_is_told_by_who_comes_again(row: Row) -> None:
    row.t.route("10.77.0.0/24", "via", "10.3.0.1")
    row.s.route("10.77.0.0/24", "via", "10.3.0.2")
    told = row.probe("10.77.0.1", "trace", "--count", "1")
    assert told["outcome"] == "unreachable"
    assert "loop" in marks(told, 4) and "loop" in marks(told, 5)
    row.s.run("ip", "route", "del", "10.77.0.0/24")
    row.t.run("ip", "route", "del", "10.77.0.0/24")


def test_a_neighbour_that_is_not_there_is_said_by_our_own_host(row: Row) -> None:
    told = row.probe("10.1.0.77:22", "trace")
    assert (told["outcome"], told["failure"]["origin"]) == ("unreachable", "agent")


# --- sizes ------------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(row: Row) -> Iterator[Row]:
    """A middle link of 1,400 bytes."""
    links = ((row.s, "eth1"), (row.t, "eth0"))
    for host, name in links:
        host.run("ip", "link", "set", name, "mtu", "1400")
    yield row
    for host, name in links:
        host.run("ip", "link", "set", name, "mtu", "1500")


@pytest.mark.parametrize("target", [TARGET, TARGET6])
def test_a_path_as_wide_as_the_interface(row: Row, target: str) -> None:
    told = row.probe(target, "mtu")["detail"]
    assert (told["mtu"], told["failing"], told["black_hole"]) == (1500, None, False)
    assert told["fragments_pass"] is True and told["interface_mtu"] == 1500


@pytest.mark.parametrize(("target", "router"), [(TARGET, ROUTERS[1]), (TARGET6, ROUTERS6[1])])
def test_a_narrow_link_is_told_by_its_router_whatever_the_kernel_remembers(
    narrow: Row, target: str, router: str
) -> None:
    for _ in range(2):  # the second time the kernel knows the path's MTU
        told = narrow.probe(target, "mtu")["detail"]
        assert (told["mtu"], told["failing"], told["told"], told["told_by"]) == (1400, 1401, 1400, router)
        assert told["black_hole"] is False


@pytest.mark.parametrize("target", [TARGET, TARGET6])
def test_a_narrow_link_whose_router_is_kept_silent_is_a_black_hole(narrow: Row, target: str) -> None:
    narrow.s.chain("output", "icmp type destination-unreachable drop", "icmpv6 type packet-too-big drop")
    told = narrow.probe(target, "mtu")["detail"]
    assert (told["mtu"], told["failing"], told["told_by"]) == (1400, 1401, None)
    assert (told["black_hole"], told["fragments_pass"]) == (True, True)


def test_dropped_fragments_are_no_narrow_link(row: Row) -> None:
    row.s.chain("prerouting", "ip frag-off & 0x3fff != 0 drop", priority=-450)
    told = row.probe(TARGET, "mtu")["detail"]
    assert (told["mtu"], told["black_hole"], told["fragments_pass"]) == (1500, False, False)


def test_loss_is_no_black_hole(row: Row) -> None:
    row.s.chain("forward", "icmp type echo-request numgen random mod 100 < 10 drop")
    for _ in range(3):
        told = row.probe(TARGET, "mtu")["detail"]
        assert (told["mtu"], told["black_hole"]) == (1500, False)


# --- both ways --------------------------------------------------------------------------------------------


class Mesh:
    """A controller beside the middle router with an agent of its own, agents at both ends."""

    def __init__(self, row: Row, state: Path) -> None:
        self.row, self.state = row, state
        self.environment = {
            **os.environ,
            "MESHCTL_CONFIG": str(state / "config.toml"),
            "XDG_CACHE_HOME": str(state / "cache"),
        }

    def meshctl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = self.row.home.command(str(BIN / "meshctl"), *words)
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def trace(self, *words: str) -> tuple[dict[str, Any], int]:
        done = self.meshctl("trace", *words, "-o", "json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout), done.returncode

    def probe(self, target: str, *words: str) -> tuple[dict[str, Any], str]:
        """What was found, and what was said on stderr."""
        done = self.meshctl("probe", target, "--kind", "tcp", "-o", "json", *words)
        assert done.stdout, done.stderr
        return json.loads(done.stdout), done.stderr

    def connected(self) -> int:
        done = self.meshctl("agents", "-o", "json")
        agents = json.loads(done.stdout)["agents"] if done.returncode == 0 else []
        return sum(1 for one in agents if one["state"] == "connected")


@pytest.fixture(scope="module")
def mesh(made: Row, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    mesh = Mesh(made, tmp_path_factory.mktemp("mesh"))
    state = mesh.state
    with ExitStack() as held:
        assert mesh.meshctl("init", "--state", str(state)).returncode == 0
        words = ("controller", "run", "--state", str(state), "--listen", f"{HOME}:7400")
        held.enter_context(made.home.start(str(BIN / "meshctl"), *words, env=mesh.environment))
        until(lambda: mesh.meshctl("agents").returncode == 0)
        for name, host in (("near", made.a), ("far", made.b), ("side", made.home)):
            told = mesh.meshctl("token", "create", "--name", name, "-o", "json")
            token = json.loads(told.stdout)["token"]
            agent = (str(BIN / "mesh-agent"),)
            own = ("--state", str(state / name))
            host.run(*agent, "join", f"{HOME}:7400", "--token-file", "-", *own, stdin=token)
            held.enter_context(host.start(*WITHOUT_CAPABILITIES, *agent, "run", *own))
        until(lambda: mesh.connected() == 3)
        yield mesh


def until(holds: Any) -> None:
    """Processes of others have no event to wait for: asks again, for a minute."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "not within a minute"
        time.sleep(0.2)


@pytest.mark.parametrize("words", [("--tcp", str(OPEN)), ()], ids=["tcp", "ping"])
def test_both_ways_are_laid_side_by_side(mesh: Mesh, row: Row, words: tuple[str, ...]) -> None:
    told, code = mesh.trace("near", "far", "-4", *words)
    assert code == 0 and told["reverse"]["agent"] == "far"
    (joined,) = told["joined"]
    assert (joined["forward_distance"], joined["reverse_distance"], joined["asymmetric"]) == (4, 4, False)
    middle = [(s["forward_addresses"], s["reverse_addresses"]) for s in joined["stations"][1:4]]
    assert middle == [
        (["10.1.0.2"], ["10.2.0.1"]),
        (["10.2.0.2"], ["10.3.0.1"]),
        (["10.3.0.2"], ["10.4.0.1"]),
    ]


def test_a_way_back_by_other_links_is_told(mesh: Mesh, row: Row) -> None:
    name, _ = row.lab.link(row.t, row.r, "10.5.0.2/24", "10.5.0.1/24")
    row.t.route("10.1.0.0/24", "via", "10.5.0.1")
    try:
        told, code = mesh.trace("near", "far", "--tcp", str(OPEN), "-4")
    finally:
        row.t.run("ip", "link", "del", name)
    (joined,) = told["joined"]
    assert code == 0 and joined["asymmetric"] is True
    assert (joined["forward_distance"], joined["reverse_distance"]) == (4, 3)


def test_one_way_that_fails_is_exit_code_3(mesh: Mesh, row: Row) -> None:
    row.s.chain("forward", f"ip saddr 10.1.0.1 tcp dport {OPEN} drop")
    told, code = mesh.trace("near", "far", "--tcp", str(OPEN), "-4")
    assert code == 3
    assert (told["forward"]["outcome"], told["reverse"]["outcome"]) == ("timeout", "ok")
    assert told["joined"][0]["stations"] == [] and told["joined"][0]["asymmetric"] is None


# --- a target that is no agent ----------------------------------------------------------------------------


def test_a_drop_for_one_is_placed_between_two_routers(mesh: Mesh, row: Row) -> None:
    row.s.chain("forward", f"ip saddr 10.1.0.1 tcp dport {OPEN} drop")
    told, said = mesh.probe(f"{TARGET}:{OPEN}", "--from", "near,side", "-4")
    assert "--no-trace leaves that out" in said
    (finding,) = told["findings"]
    assert (finding["verdict"], finding["scope"]["from"]) == ("source-selective", ["near"])
    assert finding["place"] == {"kind": "between", "address": ROUTERS[1], "hop": 2}
    assert finding["alternatives"] == ["forward-drop"], finding["summary"]
    assert ROUTERS[2] in finding["summary"]
    near = next(one for one in told["vantages"] if one["agent"] == "near")
    assert near["followed"] and near["outcome"] == "timeout", "what follows changes no outcome"


def test_a_drop_at_the_target_s_door_leaves_the_set(mesh: Mesh, row: Row) -> None:
    row.b.chain("input", f"tcp dport {OPEN} drop")
    told, _ = mesh.probe(f"{TARGET}:{OPEN}", "--from", "near,side", "-4")
    (finding,) = told["findings"]
    assert finding["verdict"] == "silent-for-all"
    assert set(finding["alternatives"]) == {"forward-drop", "return-drop", "target-input-drop"}
    assert finding["place"] == {"kind": "between", "address": ROUTERS[2], "hop": 3}


def test_whatever_vanishes_past_a_hop_is_a_set_with_black_hole(mesh: Mesh, row: Row) -> None:
    row.s.route("blackhole", f"{TARGET}/32")
    try:
        told, _ = mesh.probe(f"{TARGET}:{OPEN}", "--from", "near", "-4")
    finally:
        row.s.run("ip", "route", "del", f"{TARGET}/32")
    (finding,) = told["findings"]
    assert finding["verdict"] == "silent-for-all" and finding["place"]["hop"] == 1
    assert {"blackhole", "forward-drop", "target-down"} <= set(finding["alternatives"])


def test_a_loop_is_a_loop(mesh: Mesh, row: Row) -> None:
    row.t.route("10.77.0.0/24", "via", "10.3.0.1")
    row.s.route("10.77.0.0/24", "via", "10.3.0.2")
    try:
        told, _ = mesh.probe("10.77.0.1:22", "--from", "near,side", "-4")
    finally:
        for router in (row.s, row.t):
            router.run("ip", "route", "del", "10.77.0.0/24")
    (finding,) = told["findings"]
    assert (finding["verdict"], finding["confidence"]) == ("routing-loop", "certain")


def test_a_router_that_waits_for_its_neighbour_in_vain(mesh: Mesh, row: Row) -> None:
    told, _ = mesh.probe("10.4.0.77:22", "--from", "near", "-4", "--timeout", "4")
    (finding,) = told["findings"]
    assert finding["verdict"] == "next-hop-dead" and finding["alternatives"] == ["target-down"]
    assert finding["place"] == {"kind": "between", "address": ROUTERS[2], "hop": 3}


def test_a_reset_in_the_target_s_name_is_no_closed_port(mesh: Mesh, row: Row) -> None:
    row.s.chain("forward", f"tcp dport {OPEN} reject with tcp reset")
    told, _ = mesh.probe(f"{TARGET}:{OPEN}", "--from", "near", "-4")
    (finding,) = told["findings"]
    assert finding["verdict"] == "forward-reset" and finding["place"]["address"] == ROUTERS[1]


def test_a_closed_port_stays_one(mesh: Mesh, row: Row) -> None:
    told, _ = mesh.probe(f"{TARGET}:{CLOSED}", "--from", "near,side", "-4")
    (finding,) = told["findings"]
    assert finding["verdict"] == "not-listening"
    assert any("/trace-tcp/" in one["id"] and one["supports"] for one in finding["evidence"])


def test_a_vantage_point_whose_link_is_sick_blames_nobody_else(mesh: Mesh, row: Row) -> None:
    """Its session stands; nothing new gets out."""
    row.a.chain("output", "ct state new meta l4proto { tcp, udp, icmp } ip daddr != 127.0.0.1 drop")
    told, _ = mesh.probe(f"{TARGET}:{OPEN}", "--from", "near,side", "-4")
    (finding,) = told["findings"]
    assert (finding["verdict"], finding["scope"]["from"]) == ("vantage-impaired", ["near"])
    assert finding["place"]["kind"] == "source-host"


def test_who_does_not_want_to_wait_is_not_kept_waiting(mesh: Mesh, row: Row) -> None:
    row.b.chain("input", f"tcp dport {OPEN} drop")
    told, said = mesh.probe(f"{TARGET}:{OPEN}", "--from", "near", "-4", "--no-trace")
    assert "trace" not in said and told["vantages"][0]["followed"] == []

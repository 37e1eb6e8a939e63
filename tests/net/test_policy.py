"""The policy judges what would be dialled, in every spelling of it."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from probemesh_agent.net.holder import ReloadingPolicy
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.net.ranges import IPAddress, Way
from probemesh_agent.net.resolver import SystemResolver
from probemesh_shared.clock import SystemClock
from probemesh_shared.errors import StateError
from probemesh_shared.model import Options, Target
from probemesh_shared.words import Kind

from tests.net.names import Elsewhere, Names

DENIED = {
    # loopback
    "127.0.0.1": "loopback",
    "127.1": "loopback",
    "127.0.1": "loopback",
    "127.255.255.254": "loopback",
    "0x7f.1": "loopback",
    "0x7f000001": "loopback",
    "0X7F.0.0.1": "loopback",
    "2130706433": "loopback",
    "017700000001": "loopback",
    "0177.0.0.1": "loopback",
    "0177.1": "loopback",
    "127.0x0.0.01": "loopback",
    "１２７.0.0.1": "loopback",
    "127。0。0。1": "loopback",
    "::1": "loopback",
    "[::1]": "loopback",
    "0:0:0:0:0:0:0:1": "loopback",
    "::0001": "loopback",
    "::1%1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:7f00:1": "loopback",
    "0:0:0:0:0:ffff:7f00:0001": "loopback",
    "[::ffff:127.0.0.1]": "loopback",
    "::127.0.0.1": "loopback",
    "::7f00:1": "loopback",
    "::ffff:0:127.0.0.1": "loopback",
    "64:ff9b::127.0.0.1": "loopback",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b:1::7f00:1": "loopback",
    "64:ff9b:1:7f00:0:100::": "loopback",
    "2002:7f00:1::": "loopback",
    "2002:7f00:0001:1234::1": "loopback",
    "2001:0:7f00:1::": "loopback",
    "2001:0:808:808::80ff:fffe": "loopback",
    "2001:db8::5efe:7f00:1": "loopback",
    "2001:db8::200:5efe:127.0.0.1": "loopback",
    # link-local, and the cloud's metadata
    "169.254.169.254": "link-local",
    "169.254.1.1": "link-local",
    "0xa9fea9fe": "link-local",
    "2852039166": "link-local",
    "0251.0376.0251.0376": "link-local",
    "169.16689662": "link-local",
    "169.254.43518": "link-local",
    "::ffff:169.254.169.254": "link-local",
    "::ffff:a9fe:a9fe": "link-local",
    "::169.254.169.254": "link-local",
    "64:ff9b::169.254.169.254": "link-local",
    "64:ff9b::a9fe:a9fe": "link-local",
    "2002:a9fe:a9fe::1": "link-local",
    "fe80::1": "link-local",
    "fe80::1%lo": "link-local",
    "[fe80::a9fe:a9fe]": "link-local",
    "febf::1": "link-local",
    "192.0.0.192": "cloud-metadata",
    "100.100.100.200": "cloud-metadata",
    "fd00:ec2::254": "cloud-metadata",
    "fd00:ec2::23": "cloud-metadata",
    "fd20:ce::254": "cloud-metadata",
    "fd00:42::42": "cloud-metadata",
    "fd00:c1::a9fe:a9fe": "cloud-metadata",
    "fd00:a9fe:a9fe::1": "cloud-metadata",
    "fd00:100::100:200": "cloud-metadata",
    # multicast and reserved
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "0xe0000001": "multicast",
    "ff02::1": "multicast",
    "ff02::1%lo": "multicast",
    "::ffff:224.0.0.1": "multicast",
    "0": "reserved",
    "0.0.0.0": "reserved",
    "0.1": "reserved",
    "0x0": "reserved",
    "::": "reserved",
    "[::]": "reserved",
    "::ffff:0.0.0.0": "reserved",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "4294967295": "reserved",
    "64:ff9b::0.0.0.0": "reserved",
    "192.0.0.1": "reserved",
    "100::1": "reserved",
}

ALLOWED = (
    "10.0.0.1",
    "10.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.7",
    "198.18.0.1",
    "8.8.8.8",
    "::ffff:10.0.0.1",
    "2001:db8::1",
    "fd00::5",
    "2a00:1450::1",
    "64:ff9b::10.0.0.1",
    "2002:a00:1::1",
)


def literal(text: str) -> IPAddress:
    address = parse_literal(text)
    assert address is not None, f"{text} is not read as an address"
    return address


@pytest.mark.parametrize(("spelling", "rule"), DENIED.items())
def test_shipped_policy_denies_every_spelling(spelling: str, rule: str) -> None:
    decision = Policy.shipped().explain(literal(spelling))
    assert (decision.allowed, decision.rule) == (False, rule)
    assert decision.text


def test_the_table_is_as_long_as_was_promised() -> None:
    assert len(DENIED) >= 60


@pytest.mark.parametrize("spelling", ALLOWED)
def test_shipped_policy_allows_unicast(spelling: str) -> None:
    assert Policy.shipped().explain(literal(spelling)).allowed


@pytest.mark.parametrize(
    "text", ["localhost", "1.2.3.4.5", "256.1.1.1", "127.0.0.1 x", "", "a\0b", "[1.2.3.4]", "::g"]
)
def test_what_is_no_literal_is_a_name(text: str) -> None:
    assert parse_literal(text) is None


def test_mapped_addresses_are_shown_as_what_is_dialled() -> None:
    assert str(literal("::ffff:192.0.2.7")) == "192.0.2.7"
    assert str(literal("0xc0000207")) == "192.0.2.7"
    assert str(literal("fe80::1%lo")) == "fe80::1%lo"


def own(_: IPAddress) -> Way:
    return Way.OWN


def test_own_addresses_are_the_target_s_own_end() -> None:
    decision = Policy.shipped().explain("10.0.0.5", own)
    assert (decision.allowed, decision.rule, decision.own) == (False, "own-address", True)


def test_own_address_inside_another_is_noticed() -> None:
    decision = Policy.shipped().explain(
        "64:ff9b::10.0.0.5", lambda a: Way.OWN if a.version == 4 else Way.ELSEWHERE
    )
    assert (decision.allowed, decision.own) == (False, True)
    assert "NAT64" in decision.text


def test_unspecified_is_reserved_even_where_the_kernel_calls_it_own() -> None:
    assert Policy.shipped().explain("0.0.0.0", own).rule == "reserved"


def test_broadcast_of_an_own_network_is_no_unicast() -> None:
    decision = Policy.shipped().explain("192.168.1.255", lambda _: Way.BROADCAST)
    assert (decision.allowed, decision.rule) == (False, "broadcast")


def test_typed_by_user_loosens_only_what_was_typed() -> None:
    policy = Policy.typed_by_user()
    assert policy.explain("127.0.0.1", typed=True).allowed
    assert policy.explain("10.0.0.5", own, typed=True).allowed
    assert not policy.explain("127.0.0.1").allowed
    assert not policy.explain("10.0.0.5", own).allowed
    assert not policy.explain("169.254.169.254", typed=True).allowed
    assert not Policy.shipped().explain("127.0.0.1", typed=True).allowed


def test_typed_by_user_keeps_the_owner_s_denials() -> None:
    denied = (ip_network("127.0.0.9/32"), ip_network("10.0.0.0/8"))
    policy = Policy.typed_by_user(Policy(deny=denied))
    assert not policy.explain("127.0.0.9", typed=True).allowed
    assert not policy.explain("10.0.0.5", own, typed=True).allowed
    assert policy.explain("127.0.0.8", typed=True).allowed


# --- the file -----------------------------------------------------------------------------------------------


def load(path: Path, text: str) -> Policy:
    path.write_text(text)
    return Policy.load(path)


def test_file_widens_and_narrows(tmp_path: Path) -> None:
    policy = load(
        tmp_path / "p.toml",
        """
        [allow]
        cidrs = ["169.254.10.0/24", "0.0.0.0/0"]
        loopback = true
        [deny]
        cidrs = ["10.0.0.0/8", "::ffff:172.16.0.0/108"]
        [limits]
        packets_per_s = 50
        concurrent = 7
        """,
    )
    assert policy.explain("127.0.0.1").allowed
    assert policy.explain("169.254.10.1").allowed
    assert not policy.explain("169.254.169.254").allowed, (
        "a wide allowance must not open what is denied by default"
    )
    assert not policy.explain("10.1.2.3").allowed
    assert not policy.explain("64:ff9b::10.1.2.3").allowed
    assert not policy.explain("172.16.5.5").allowed, "a mapped block is an IPv4 block"
    assert policy.explain("192.168.0.1").allowed
    assert (policy.limits.packets_per_s, policy.limits.concurrent) == (50, 7)


def test_deny_wins_over_allow(tmp_path: Path) -> None:
    policy = load(tmp_path / "p", '[allow]\ncidrs = ["10.0.0.1/32"]\n[deny]\ncidrs = ["10.0.0.0/8"]')
    assert not policy.explain("10.0.0.1").allowed


def test_the_owner_may_forbid_listeners(tmp_path: Path) -> None:
    assert Policy.shipped().listen and load(tmp_path / "p", "[allow]\nlisten = true").listen
    assert not load(tmp_path / "q", "[allow]\nlisten = false").listen
    with pytest.raises(StateError, match="listen must be true or false"):
        load(tmp_path / "r", '[allow]\nlisten = "no"')


def test_without_unicast_only_what_is_listed(tmp_path: Path) -> None:
    policy = load(tmp_path / "p", '[allow]\nunicast = false\ncidrs = ["10.0.0.0/8"]')
    assert policy.explain("10.0.0.1").allowed
    decision = policy.explain("192.168.0.1")
    assert (decision.allowed, decision.rule) == (False, "not-allowed")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("allow = [", "not TOML"),
        ("[allow]\nnames = []", "[allow] names is empty"),
        ('[allow]\nnames = ["10.*"]', "reads as an address"),
        ('[allow]\nnames = ["a b"]', "no glob of names"),
        ('[deny]\nnames = "*.internal"', "list"),
        ("[deny]\nports = [70000]", "70000"),
        ('[deny]\nports = ["9-1"]', "9-1"),
        ("[deny]\nports = [true]", "no text"),
        ("[deny]\nports = [1.5]", "no text"),
        ('[allow]\nkinds = ["pign"]', "pign"),
        ('[allow]\nkinds = ["ladder"]', "rungs"),
        ("[allow]\nports = [1]\nport = [2]", "unknown key 'port'"),
        ("\0\1\2", "not TOML"),
        ('[allow]\ncidrs = ["10.0.0.1/8"]', "host bits"),
        ('[allow]\ncidrs = ["ten"]', "ten"),
        ('[allow]\ncidrs = "10.0.0.0/8"', "list"),
        ("[allow]\nloopback = 1", "loopback"),
        ("[allow]\nlopback = true", "lopback"),
        ('[denied]\ncidrs = ["10.0.0.0/8"]', "denied"),
        ("deny = 3", "[deny]"),
        ("[limits]\npackets_per_s = 0", "packets_per_s"),
        ("[limits]\nconcurrent = 1.5", "whole"),
        ("[limits]\nconcurrent = true", "concurrent"),
        ("[limits]\npackets_per_s = nan", "packets_per_s"),
    ],
)
def test_malformed_files_fail_closed_and_say_why(tmp_path: Path, text: str, names: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(StateError) as raised:
        Policy.load(path)
    assert names in str(raised.value)
    assert str(path) in str(raised.value)


def test_missing_file_and_binary_garbage_fail_closed(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        Policy.load(tmp_path / "none.toml")
    with pytest.raises(StateError, match="cannot be read"):
        Policy.load(tmp_path)
    path = tmp_path / "garbage"
    path.write_bytes(bytes(range(255, -1, -1)))
    with pytest.raises(StateError, match="not TOML"):
        Policy.load(path)


def test_running_agent_keeps_its_last_good_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('[deny]\ncidrs = ["10.0.0.0/8"]')
    held = ReloadingPolicy(path)
    for harm in (lambda: path.write_text("[deny"), lambda: path.write_text(""), path.unlink):
        harm()
        assert not held.current.explain("10.0.0.1").allowed
        assert held.problem is not None and "last good" in held.problem
    path.write_text('[deny]\ncidrs = ["11.0.0.0/8"]\n')
    assert held.current.explain("10.0.0.1").allowed
    assert not held.current.explain("11.0.0.1").allowed
    assert held.problem is None


def test_no_first_policy_no_agent(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        ReloadingPolicy(tmp_path / "none.toml")


def test_told_to_a_running_agent_reads_its_file_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[allow]\n")
    held, told = ReloadingPolicy(path), []
    held.told = lambda changed, problem: told.append((changed, problem is None))
    assert held.reload()
    path.write_text('[deny]\nports = ["25"]\n')
    assert held.reload() and held.current.rungs.deny_ports
    path.write_text('[deny]\nprots = ["25"]\n')
    assert not held.reload() and held.current.rungs.deny_ports
    assert told == [(False, True), (True, True), (False, False)]
    assert "prots" in caplog.text and "last good one stays in force" in caplog.text


LIMITED = """
[allow]
names = ["*.Internal", "db-?.corp."]
ports = [443, "8000-8100", "5432"]
kinds = ["tcp", "tls"]
cidrs = ["10.7.0.0/16"]
[deny]
names = ["secret.internal"]
ports = ["8080"]
kinds = ["tls"]
"""


@pytest.mark.parametrize(
    ("what", "value", "rule"),
    [
        ("of_name", "db.internal", "allow"),
        ("of_name", "a.b.internal", "allow"),
        ("of_name", "db-1.corp", "allow"),
        ("of_name", "db-12.corp", "not-allowed"),
        ("of_name", "internal", "not-allowed"),
        ("of_name", "", "not-allowed"),
        ("of_name", "secret.internal", "deny"),
        ("of_port", 443, "allow"),
        ("of_port", 8000, "allow"),
        ("of_port", 8100, "allow"),
        ("of_port", 8101, "not-allowed"),
        ("of_port", 8080, "deny"),
        ("of_kind", Kind.TCP, "allow"),
        ("of_kind", Kind.TLS, "deny"),
        ("of_kind", Kind.HTTP, "not-allowed"),
        ("of_kind", Kind.LADDER, "unlimited"),
    ],
)
def test_names_ports_and_kinds_of_the_file(tmp_path: Path, what: str, value: object, rule: str) -> None:
    decision = getattr(load(tmp_path / "p", LIMITED).rungs, what)(value, "the owner")
    assert (decision.rule, decision.allowed) == (rule, rule in ("allow", "unlimited"))
    assert decision.text


def test_a_file_that_limits_nothing_limits_nothing(tmp_path: Path) -> None:
    rungs = load(tmp_path / "p", "[allow]\ncidrs = []\n[deny]\nports = []\n").rungs
    judged = [rungs.of_kind(kind, "x") for kind in Kind] + [rungs.of_port(1, "x"), rungs.of_name("a", "x")]
    assert {one.rule for one in judged} == {"unlimited"}


async def found(policy: Policy, host: str, **more: Any) -> list[str]:
    names = Names(
        {"db.internal": ("10.8.0.1",), "x.example": ("10.8.0.1",), "db.deep.internal": ("10.8.0.2",)}
    )
    network = SystemNetwork(
        SystemClock(), policy, resolver=SystemResolver(lookup=names), routes=Elsewhere(), **more
    )
    claimed = Target(host, host, addresses=("10.8.0.1",))
    answers = [await network.resolve(one, Options(), 1e9) for one in (Target(host, host), claimed)]
    answers.append(await network.resolve_host(host, Options(), 1e9))
    assert all(answer.addresses or answer.failure for answer in answers)
    return [" ".join(address.host for address in answer.addresses) for answer in answers]


async def test_where_names_are_listed_an_address_needs_a_name_or_to_be_listed(tmp_path: Path) -> None:
    policy = load(tmp_path / "p", LIMITED)
    assert await found(policy, "db.internal") == ["10.8.0.1"] * 3
    assert await found(policy, "x.example") == ["", "", ""], "nor by an address that is claimed for it"
    assert await found(policy, "10.8.0.1") == ["", "", ""]
    assert await found(policy, "10.7.3.4") == ["10.7.3.4", "", "10.7.3.4"]
    assert await found(policy, "64:ff9b::10.7.3.4") == ["", "", ""], "both of what it is must be listed"


async def test_a_denied_name_is_denied_in_every_spelling(tmp_path: Path) -> None:
    policy = load(tmp_path / "p", '[deny]\nnames = ["*.internal"]')
    conf = tmp_path / "resolv.conf"
    conf.write_text("search deep.internal\n")
    for spelling in ("db.internal", "DB.Internal", "db.internal.", "ｄb.internal", "db。internal"):
        assert await found(policy, spelling) == ["", "", ""], spelling
    assert await found(policy, "db", resolv_conf=conf) == ["", "", ""], (
        "the search list makes it db.deep.internal"
    )
    assert await found(policy, "x.example") == ["10.8.0.1"] * 3


async def test_changed_caps_reach_the_engine_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[limits]\nconcurrent = 50\npackets_per_s = 70\n")
    held = ReloadingPolicy(path)
    network = SystemNetwork(SystemClock(), held)
    assert network.engine.most_sockets == 50
    path.write_text("[limits]\nconcurrent = 40\npackets_per_s = 7\n")
    assert held.reload() and network.engine.most_sockets == 40
    assert [rate.per_s for rate in network.engine.allowance.rates(None, False)] == [7]
    network.close()


def test_no_address_at_all_is_loopback_too() -> None:
    opened = Policy(allow=(ip_network("0.0.0.0/8"), ip_network("::/128")))
    for nothing in ("0.0.0.0", "::"):
        decision = opened.explain(nothing)
        assert (decision.allowed, decision.rule) == (False, "loopback")


def test_explain_takes_text() -> None:
    assert Policy.shipped().explain("10.0.0.1") == Policy.shipped().explain(ip_address("10.0.0.1"))

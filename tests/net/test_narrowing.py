"""What the mesh narrows a job to takes away and never gives."""

import asyncio
from dataclasses import fields
from ipaddress import IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probemesh_agent.env import Network, ProbeFailed, Resolution
from probemesh_agent.net.narrowed import _PASSED_ON, _Narrowed, narrowed
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.net.resolver import SystemResolver
from probemesh_agent.net.rungs import Rungs
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import Narrowing, Options, PortRange, Target
from probemesh_shared.narrowing import MOST_NARROWINGS, NAMED_KINDS, read_narrowing
from probemesh_shared.words import FailureKind, Kind

from tests.net.names import Elsewhere, Names

HOSTS = {
    "db.internal": ("10.1.0.5", "10.2.0.5"),
    "web.internal": ("10.1.0.6",),
    "far.example": ("203.0.113.9", "2001:db8::9"),
    "meta.example": ("169.254.169.254", "10.1.0.7"),
}
LITERALS = (
    "10.1.0.5",
    "10.9.0.1",
    "203.0.113.9",
    "127.0.0.1",
    "169.254.169.254",
    "64:ff9b::10.1.0.5",
    "0.0.0.0",
)
BLOCKS = ("10.0.0.0/8", "10.1.0.0/16", "203.0.113.0/24", "169.254.0.0/16", "2001:db8::/32", "127.0.0.0/8")
GLOBS = ("*.internal", "db.*", "far.example")
PORTS = (PortRange(1, 1023), PortRange(443, 443), PortRange(5000, 6000))


def network_of(policy: Policy, clock: SystemClock | None = None) -> SystemNetwork:
    resolver = SystemResolver(lookup=Names(HOSTS))
    return SystemNetwork(clock or SystemClock(), policy, resolver=resolver, routes=Elsewhere())


async def ask(network: Network, target: Target) -> Resolution:
    return await network.resolve(target, Options(), SystemClock().monotonic() + 5)


def some(values: tuple) -> st.SearchStrategy[tuple]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


narrowings = st.builds(
    Narrowing,
    networks=some(BLOCKS),
    deny_networks=some(BLOCKS),
    names=some(GLOBS),
    ports=some(PORTS),
    kinds=some(NAMED_KINDS),
)
policies = st.builds(
    Policy,
    allow=some(BLOCKS).map(lambda texts: tuple(map(ip_network, texts))),
    deny=some(BLOCKS).map(lambda texts: tuple(map(ip_network, texts))),
    unicast=st.booleans(),
    loopback=st.booleans(),
    rungs=st.builds(
        Rungs,
        names=some(GLOBS),
        ports=some(PORTS),
        kinds=some(NAMED_KINDS),
        deny_names=some(GLOBS),
        deny_ports=some(PORTS),
    ),
)
targets = st.one_of(
    st.sampled_from(sorted(HOSTS)).map(lambda host: Target(host, host)),
    st.sampled_from(LITERALS).map(lambda host: Target(host, host)),
    # a controller that claims addresses for a name
    st.builds(
        lambda host, addresses: Target(host, host, addresses=addresses),
        st.sampled_from(sorted(HOSTS)),
        st.lists(st.sampled_from(LITERALS), min_size=1, max_size=3, unique=True).map(tuple),
    ),
)


def within(narrowing: Narrowing, host: str, address: str) -> bool:
    """The same said in another way, for IPv4 addresses and plain IPv6 ones."""
    number = ip_address(address)
    if number.version == 6 and int(number) >> 32 == int(ip_address("64:ff9b::")) >> 32:
        inner = ip_address(int(number) & 0xFFFFFFFF)
        return within(narrowing, host, str(inner)) and not narrowing.networks  # no block above holds both
    listed = any(number in ip_network(block) for block in narrowing.networks)
    if narrowing.networks and not listed:
        return False
    if any(number in ip_network(block) for block in narrowing.deny_networks):
        return False
    if not narrowing.names:
        return True
    like = {
        "*.internal": host.endswith(".internal"),
        "db.*": host.startswith("db."),
        "far.example": host == "far.example",
    }
    return listed or (any(like[name] for name in narrowing.names) and address in HOSTS.get(host, ()))


@given(
    policy=policies,
    given_=st.lists(narrowings, max_size=3),
    target=targets,
    before=st.lists(targets, max_size=2),
)
@settings(max_examples=300, deadline=None)
def test_a_narrowing_never_widens(
    policy: Policy, given_: list[Narrowing], target: Target, before: list[Target]
) -> None:
    async def judge() -> tuple[Resolution, Resolution]:
        plain = network_of(policy)
        view = narrowed(plain, given_)
        for earlier in before:  # what was resolved before may have left something behind
            await ask(view, earlier)
        seen = await ask(view, target)
        return seen, await ask(network_of(policy), target)

    view, plain = asyncio.run(judge())
    # The policy alone, asked anew: a claim of addresses counts only where the names were resolved before.
    alone = {address.host for address in plain.addresses}
    for address in view.addresses:
        earlier = any(one.host == target.host and not one.addresses for one in before)
        assert address.host in alone or (policy.rungs.names and earlier)
        assert policy.explain(address.host).allowed
        assert all(within(one, target.host, address.host) for one in given_)
    assert view.addresses or view.failure is not None, "what is refused says why"


@given(policy=policies, given_=st.lists(narrowings, max_size=3), port=st.integers(1, 65_535))
@settings(max_examples=200, deadline=None)
def test_kinds_and_ports_are_an_intersection(policy: Policy, given_: list[Narrowing], port: int) -> None:
    async def judge() -> None:
        plain = network_of(policy)
        view = narrowed(plain, given_)
        for kind in NAMED_KINDS:
            listed = all(not one.kinds or kind in one.kinds for one in given_)
            assert (view.refused_kind(kind) is None) == (plain.refused_kind(kind) is None and listed)
        inside = all(not one.ports or any(s.first <= port <= s.last for s in one.ports) for one in given_)
        assert (view.refused_port(port) is None) == (plain.refused_port(port) is None and inside)
        assert set(view.refused_ports((PortRange(port, port),))) == (
            set() if view.refused_port(port) is None else {port}
        )

    asyncio.run(judge())


async def test_what_cannot_be_read_lets_nothing_through() -> None:
    plain = network_of(Policy.shipped())
    many = (Narrowing(),) * (MOST_NARROWINGS + 1)
    for hostile in ((Narrowing(networks=("ten",)),), (Narrowing(deny_networks=("10.0.0.0/99",)),), many):
        view = narrowed(plain, hostile)
        for host in ("10.1.0.5", "db.internal"):
            found = await ask(view, Target(host, host))
            assert not found.addresses and found.failure is not None
            assert found.failure.kind is FailureKind.DENIED and "cannot be read" in found.failure.detail
        assert view.refused_kind(Kind.TCP) and view.refused_port(443) and view.refused_name("db.internal")
        assert not view.may_answer("10.1.0.5")


def test_every_part_of_the_network_is_judged_or_said_not_to_be() -> None:
    parts = {name for name in vars(Network) if not name.startswith("_")}
    mine = {name for name in vars(_Narrowed) if not name.startswith("_")}
    assert parts == mine | _PASSED_ON, "a new part must be judged here, or be one that needs no judging"


def test_every_field_narrows() -> None:
    """Given by itself each field refuses something that the empty narrowing lets through."""
    full = {
        "networks": ("10.0.0.0/8",),
        "deny_networks": ("203.0.113.0/24",),
        "names": ("*.internal",),
        "ports": (PortRange(1, 2),),
        "kinds": (Kind.ICMP,),
    }
    assert {one.name for one in fields(Narrowing)} == {*full, "source"}

    async def refused(narrowing: Narrowing) -> bool:
        view = narrowed(network_of(Policy.shipped()), (narrowing,))
        found = await ask(view, Target("203.0.113.9", "203.0.113.9"))
        return bool(found.refused or view.refused_port(443) or view.refused_kind(Kind.TCP))

    assert not asyncio.run(refused(Narrowing(source="nobody")))
    for name, value in full.items():
        assert asyncio.run(refused(Narrowing(**{name: value}))), name


async def test_a_refused_port_is_not_dialled() -> None:
    view = narrowed(network_of(Policy(loopback=True)), (Narrowing(ports=(PortRange(443, 443),)),))
    here = (await ask(view, Target("127.0.0.1", "127.0.0.1"))).addresses[0]
    for way in (view.connect(here, 80, Options(), 1e9), view.datagrams(here, 53, Options(), 1e9)):
        with pytest.raises(ProbeFailed) as failed:
            await way
        assert failed.value.failure.kind is FailureKind.DENIED


async def test_own_name_servers_and_answers_are_within_it_too(tmp_path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 10.1.0.53\nnameserver 203.0.113.53\n")
    plain = SystemNetwork(SystemClock(), Policy.shipped(), routes=Elsewhere(), resolv_conf=conf)
    view = narrowed(plain, (Narrowing(networks=("10.0.0.0/8",), names=("*.internal",)),))
    found = view.nameservers(Options())
    assert [one.host for one in found.addresses] == ["10.1.0.53"]
    assert [one.host for one in found.refused] == ["203.0.113.53"]
    assert view.may_answer("10.1.0.5") and not view.may_answer("203.0.113.5")
    assert plain.may_answer("203.0.113.5") and not plain.may_answer("169.254.169.254")


def test_reading_says_what_is_wrong() -> None:
    read = read_narrowing(
        {"networks": ["10.0.0.0/8"], "ports": ["443", 80, "8000-8100"], "kinds": ["tcp"]}, "here"
    )
    assert (
        read.networks == ("10.0.0.0/8",)
        and read.ports[2] == PortRange(8000, 8100)
        and read.kinds == (Kind.TCP,)
    )
    assert IPv4Network(read.networks[0]) and read.source == "here"

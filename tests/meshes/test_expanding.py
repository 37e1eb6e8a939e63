"""Whom a mesh means: pairs and cells of every shape, in a stable order."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.meshes.aiming import spec_of
from probemesh_controller.meshes.expanding import Expansion, expand
from probemesh_shared.model import FlowSpec, HttpSpec, IcmpSpec, Options, TcpSpec, UdpSpec
from probemesh_shared.slots import Cell

from tests.meshes.world import FLEET, agent, schedule

ICMP = 'every = "1m"\nkinds = ["icmp"]'


def pairs(mesh, **groups):
    found = expand(schedule(mesh, ICMP, **groups), FLEET).pairs
    return [f"{pair.source}>{pair.target}" for pair in found]


def labels(mesh, kinds, fleet=FLEET):
    made = schedule(mesh, f'every = "1m"\n{kinds}')
    return [f"{c.source}>{c.target} {c.probe}" for c in expand(made, fleet).cells]


def test_full_is_everybody_to_everybody_else_but_the_revoked():
    names = ["berlin-1", "berlin-2", "tokyo-1", "tokyo-2"]
    assert pairs('shape = "full"\nagents = "all"') == [
        f"{a}>{b}" for a, b in itertools.permutations(names, 2)
    ]


def test_full_one_way_has_each_two_once():
    found = pairs('shape = "full"\nagents = "all"\none_way = true')
    assert len(found) == 6
    assert len({frozenset(pair.split(">")) for pair in found}) == 6


def test_one_way_gives_nobody_all_of_it():
    many = tuple(agent(f"a-{number}") for number in range(40))
    made = schedule('shape = "full"\nagents = "all"\none_way = true', ICMP)
    sent = [pair.source for pair in expand(made, many).pairs]
    assert len(sent) == 40 * 39 // 2
    assert all(5 <= sent.count(one.name) <= 34 for one in many)


def test_disjoint_is_left_by_right_both_ways():
    mesh = 'shape = "disjoint"\nleft = "site=berlin"\nright = "tokyo"'
    there = ["berlin-1>tokyo-1", "berlin-1>tokyo-2", "berlin-2>tokyo-1", "berlin-2>tokyo-2"]
    back = ["tokyo-1>berlin-1", "tokyo-1>berlin-2", "tokyo-2>berlin-1", "tokyo-2>berlin-2"]
    assert pairs(mesh, tokyo="site=tokyo") == there + back
    assert pairs(mesh + "\none_way = true", tokyo="site=tokyo") == there


def test_disjoint_to_services_has_no_way_back():
    mesh = 'shape = "disjoint"\nleft = "site=berlin"\nright = ["db.internal:5432", "agent:db:5432"]'
    assert pairs(mesh, db="role=db") == [
        "berlin-1>db.internal:5432",
        "berlin-1>tokyo-1",
        "berlin-2>berlin-1",
        "berlin-2>db.internal:5432",
        "berlin-2>tokyo-1",
    ]


def test_hub_is_hubs_by_the_rest_both_ways():
    mesh = 'shape = "hub"\nhubs = "site=berlin"'
    assert pairs(mesh) == [
        "berlin-1>tokyo-1",
        "berlin-1>tokyo-2",
        "berlin-2>tokyo-1",
        "berlin-2>tokyo-2",
        "tokyo-1>berlin-1",
        "tokyo-1>berlin-2",
        "tokyo-2>berlin-1",
        "tokyo-2>berlin-2",
    ]
    assert "berlin-1>berlin-2" in pairs(mesh + '\nrest = "all"')
    assert all(pair.startswith("berlin") for pair in pairs(mesh + "\none_way = true"))


def test_pairs_are_as_they_are_written():
    mesh = 'shape = "pairs"\npairs = [["tokyo-1", "berlin-1"], ["site=tokyo", "icmp:192.0.2.1"]]'
    assert pairs(mesh) == ["tokyo-1>berlin-1", "tokyo-1>icmp:192.0.2.1", "tokyo-2>icmp:192.0.2.1"]


def test_excluded_agents_and_ways():
    never = '["tokyo-2", ["berlin-*", "berlin-*"], ["tokyo-1", "berlin-1"]]'
    mesh = f'shape = "full"\nagents = "all"\nexclude = {never}'
    assert pairs(mesh) == ["berlin-1>tokyo-1", "berlin-2>tokyo-1", "tokyo-1>berlin-2"]


def test_an_excluded_service():
    mesh = 'shape = "disjoint"\nleft = "all"\nright = "db.internal:5432"\n'
    mesh += 'exclude = [["site=tokyo", "db.internal:5432"]]'
    assert pairs(mesh) == ["berlin-1>db.internal:5432", "berlin-2>db.internal:5432"]


@pytest.mark.parametrize(
    ("right", "kinds", "found"),
    [
        ("tokyo-1", 'kinds = ["icmp", "udp"]', ["icmp", "udp"]),
        ("tokyo-1", 'kinds = ["tcp", "udp"]\nports = [22, 80]', ["tcp/22", "tcp/80", "udp"]),
        ("tokyo-1", 'kinds = ["udp/53", "https"]', ["https/443", "udp/53"]),
        ("tokyo-1", 'kinds = ["http", "tls"]', ["http/80", "tls/443"]),
        ("tokyo-1", 'kinds = ["icmp", "tcp/22"]\nfamily = "ipv6"', ["icmp/ipv6", "tcp/22/ipv6"]),
        ("agent:tokyo-1:5432", 'kinds = ["icmp", "tcp/22", "udp"]', ["icmp", "tcp/5432", "udp/5432"]),
        ("db:5432,5433", 'kinds = ["icmp", "tcp"]', ["icmp", "tcp/5432", "tcp/5433"]),
        ("db:5432", 'kinds = ["https/443"]', ["https/5432"]),
        ("[2001:db8::1]:22", 'kinds = ["tcp"]', ["tcp/22"]),
        ("2001:db8::1", 'kinds = ["icmp", "udp", "tcp/22"]', ["icmp", "tcp/22"]),
        ("icmp:db", 'kinds = ["tcp/22"]', ["icmp"]),
        ("https://shop/", 'kinds = ["icmp"]', ["https/443"]),
        ("http://shop:8080/x", 'kinds = ["icmp"]', ["http/8080"]),
        ("dns:example.org/MX@192.0.2.53", 'kinds = ["icmp"]', ["dns"]),
        ("udp://ntp:123", 'kinds = ["icmp"]', ["udp/123"]),
        ("tcp://db:1-3", 'kinds = ["icmp"]', ["tcp/1", "tcp/2", "tcp/3"]),
    ],
)  # fmt: skip
def test_the_probes_of_a_pair(right, kinds, found):
    mesh = f'shape = "disjoint"\nleft = "berlin-1"\nright = "{right}"\none_way = true'
    assert [label.split(" ")[1] for label in labels(mesh, kinds)] == found


def aims(right, kinds):
    mesh = f'shape = "disjoint"\nleft = "berlin-1"\nright = "{right}"\none_way = true'
    return expand(schedule(mesh, f'every = "1m"\nkinds = {kinds}'), FLEET).aims


def test_what_is_asked_of_an_agent():
    http, icmp, tcp, responder, udp = aims("tokyo-1", '["icmp", "udp", "udp/53", "tcp/22", "https"]')
    assert (icmp.target.text, tcp.target.text) == ("agent:tokyo-1", "agent:tokyo-1:22")
    assert (http.target.text, http.target.secure, tcp.target.secure) == ("agent:tokyo-1:443", True, False)
    assert [one.responder for one in (icmp, http, tcp, responder, udp)] == [False, False, False, True, False]
    assert {one.agent for one in (icmp, http, tcp, responder, udp)} == {"tokyo-1"}
    options = Options(size=100, count=7)
    assert spec_of(icmp, options) == IcmpSpec(options)
    assert spec_of(udp, options) == UdpSpec(options)
    assert spec_of(tcp, options) == TcpSpec(Options(count=7))
    assert isinstance(spec_of(http, options), HttpSpec)
    flow = spec_of(responder, options, b"token")
    assert isinstance(flow, FlowSpec) and flow.token == b"token" and not flow.shots


def test_a_service_over_http_is_asked_for_by_url():
    (aim,) = aims("db:8443", '["https"]')
    assert (aim.target.text, aim.target.secure, aim.agent) == ("https://db:8443/", True, None)
    assert aim.cell == Cell("berlin-1", "db:8443", "https/8443")


@given(st.randoms(use_true_random=False), st.sampled_from(["full", "disjoint", "hub"]))
def test_the_order_of_agents_makes_no_difference(shuffler: random.Random, shape):
    mesh = {
        "full": 'shape = "full"\nagents = "all"\none_way = true',
        "disjoint": 'shape = "disjoint"\nleft = "site=berlin"\nright = ["all", "db:1"]',
        "hub": 'shape = "hub"\nhubs = "tokyo-1,berlin-2"',
    }[shape]
    made = schedule(mesh)
    shuffled = list(FLEET)
    shuffler.shuffle(shuffled)
    found = expand(made, shuffled)
    assert found == expand(made, FLEET)
    assert list(found.cells) == sorted(set(found.cells))
    assert all(cell.source != cell.target for cell in found.cells)


def test_nobody_there():
    assert expand(schedule('shape = "full"\nagents = "all"'), ()) == Expansion()

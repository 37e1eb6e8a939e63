"""A matrix of real agents without privilege, with firewalls of nftables between them, against the kernel's
own counts.

::

    A 10.1.0.2 ──┐
    B 10.2.0.2 ──┤ R
    C 10.3.0.2 ──┘
"""

import contextlib
import json
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

pytestmark = [pytest.mark.netns, pytest.mark.tool("nft"), pytest.mark.slow, pytest.mark.timeout(200)]

NAMES = ("a", "b", "c")
TOPOLOGY = Topology(
    name="matrix",
    about="three agents around R",
    drawing=__doc__ or "",
    hosts=NAMES,
    routers=("r",),
    links=tuple(
        Link(
            (f"{name}.eth0", f"r.{name}"),
            (
                (f"10.{number}.0.2/24", f"2001:db8:{number}::2/64"),
                (f"10.{number}.0.1/24", f"2001:db8:{number}::1/64"),
            ),
        )
        for number, name in enumerate(NAMES, 1)
    ),
    routes={
        name: (f"default via 10.{number}.0.1", f"default via 2001:db8:{number}::1")
        for number, name in enumerate(NAMES, 1)
    },
    agents={name: (f"10.{number}.0.2", f"2001:db8:{number}::2") for number, name in enumerate(NAMES, 1)},
    path=(),
    path_back=(),
    run={},
    standing={},
)


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="probemesh-matrix-")))
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
    mesh.stage["r"].nft_flush()


def ask(mesh: Mesh, *more: str, code: int = 0) -> dict[str, dict[str, Any]]:
    told = mesh.meshctl("matrix", "run", *more, "-o", "json", seconds=100)
    assert told.code == code, f"{told.code}: {told.out}{told.errors}"
    return {f"{one['source']}>{one['target']} {one['probe']}": one for one in told.json()["cells"]}


def not_ok(found: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {cell: (one["state"], one["outcome"]) for cell, one in found.items() if one["state"] != "ok"}


def test_everybody_by_both_families_and_no_packet_more_than_asked_for(mesh: Mesh) -> None:
    """Three echo requests and three datagrams for each pair, to each address; as many replies."""
    counted = (
        "ip protocol icmp",
        "ip6 nexthdr icmpv6 icmpv6 type {echo-request, echo-reply}",
        "meta l4proto udp",
    )
    mesh.stage["r"].chain("forward", *(f"{rule} counter" for rule in counted))
    found = ask(mesh)
    assert len(found) == 12
    assert not_ok(found) == {}
    assert {(one["sent"], one["lost"]) for one in found.values()} == {(3, 0)}
    listed = json.loads(mesh.stage["r"].run("nft", "-j", "list", "ruleset"))["nftables"]
    rules = [one["rule"]["expr"] for one in listed if "rule" in one]
    packets = [part["counter"]["packets"] for rule in rules for part in rule if "counter" in part]
    assert packets == [6 * 3 * 2, 6 * 3 * 2, 6 * 2 * 3 * 2]


def test_one_way_is_told_from_the_other(mesh: Mesh) -> None:
    new = "ip saddr 10.1.0.2 ip daddr 10.2.0.2 meta l4proto udp ct state new drop"
    mesh.stage["r"].chain("forward", new)
    found = ask(mesh, "-4", "--timeout", "1", code=3)
    assert not_ok(found) == {"a>b udp/ipv4": ("timed-out", "timeout")}
    assert found["a>b udp/ipv4"]["lost"] == 3


def test_addresses_are_alternatives(mesh: Mesh) -> None:
    """Both families are dialled, and one that answers will do."""
    mesh.stage["r"].chain("forward", "ip saddr 10.1.0.2 ip daddr 10.2.0.2 drop")
    found = ask(mesh, "--timeout", "1", "--from", "a", "--to", "b")
    assert {one["address"] for one in found.values()} == {"2001:db8:2::2"}
    assert not_ok(found) == {}


def test_who_says_no_is_no_silence(mesh: Mesh) -> None:
    reject = "ip daddr 10.3.0.2 {what} reject with icmp admin-prohibited"
    mesh.stage["r"].chain(
        "forward", reject.format(what="ip protocol icmp"), reject.format(what="meta l4proto udp")
    )
    found = ask(mesh, "-4", "--to", "c", code=1)
    assert {one["state"] for one in found.values()} == {"failed"}
    assert {one["outcome"] for one in found.values()} == {"prohibited"}


def test_ports_of_services(mesh: Mesh) -> None:
    """What listens on no port refuses, there and over UDP by ICMP."""
    found = ask(mesh, "-4", "--kind", "tcp/9", "--kind", "udp/9", "--kind", "icmp", "--from", "b", code=3)
    states = {cell: one["outcome"] for cell, one in found.items() if "icmp" not in cell}
    assert states == dict.fromkeys(
        ["b>a tcp/9/ipv4", "b>a udp/9/ipv4", "b>c tcp/9/ipv4", "b>c udp/9/ipv4"], "refused"
    )

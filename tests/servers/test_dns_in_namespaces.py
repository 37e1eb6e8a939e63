"""All servers of a zone, and the host's own way to names, on port 53: name servers in one namespace, the
agent in another."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.netlab import Host, NetLab
from tests.servers.dns_daemons import named, unbound
from tests.servers.dns_zones import Zone, write_zone

pytestmark = [pytest.mark.netns, pytest.mark.tool("named"), pytest.mark.tool("unbound")]

SCRIPT = Path(__file__).with_name("dns_in_namespace.py")
ZONE = "compare.example"
#: The resolver of the host does not know it.
HIDDEN = "hidden.example"
SERVERS = ("ns1", "ns2", "ns3", "ns4", "ns5", "gone.nowhere.example.", "near")
RECORDS = (
    "ns1 A 10.9.0.2",
    "ns1 AAAA fd00:9::2",
    "ns2 A 10.9.0.3",
    "ns3 A 10.9.0.4",
    "ns4 A 10.9.0.5",
    "ns5 A 10.9.0.6",
    "near A 127.0.0.1",
    "www A 192.0.2.1",
    "deep.er A 192.0.2.2",
    "alias CNAME www",
)


@dataclass(frozen=True)
class World:
    client: Host

    def ask(self, *asked: dict[str, Any]) -> list[list[dict[str, Any]]]:
        words = [json.dumps(one) for one in asked]
        told: list[list[dict[str, Any]]] = json.loads(self.client.run(sys.executable, str(SCRIPT), *words))
        return told


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("dns")
    with NetLab() as lab, contextlib.ExitStack() as stack:
        client, servers = lab.host("client"), lab.host("servers")
        lab.link(client, servers, "10.9.0.1/24", "10.9.0.2/24", "fd00:9::1/64", "fd00:9::2/64")
        for last in (3, 4, 5, 6, 7, 53):
            servers.run("ip", "addr", "add", f"10.9.0.{last}/24", "dev", "eth0")
        lab.etc(client, "resolv.conf", f"nameserver 10.9.0.53\nsearch corp.{ZONE} {ZONE}\noptions ndots:1\n")
        lab.etc(client, "hosts", "127.0.0.1 localhost\n\n10.9.0.77 ours.example ours # by hand\n")
        lab.etc(client, "nsswitch.conf", "passwd: files\nhosts: files dns\n")
        prefix = servers.command()

        def served(where: str, name: str, zone: Zone) -> None:
            files = {zone.name: zone.file}
            stack.enter_context(
                named(folder / name, files, address=where, port=53, identity=name, prefix=prefix)
            )

        new = write_zone(folder / "new", ZONE, *RECORDS, serial=2026, servers=SERVERS)
        old = write_zone(folder / "old", ZONE, *RECORDS[:-3], serial=2025, servers=SERVERS)
        above = write_zone(
            folder, "example", "ns A 10.9.0.4", "compare NS ns1.compare", "ns1.compare A 10.9.0.2"
        )
        hidden = write_zone(
            folder, HIDDEN, "ns1 A 10.9.0.7", "www A 192.0.2.7", servers=("ns1", "gone.nowhere.example.")
        )
        other = write_zone(folder, "other.example", "ns A 10.9.0.5")
        for where, name, zone in (
            ("10.9.0.2", "one", new),
            ("fd00:9::2", "one-six", new),
            ("10.9.0.3", "two", old),
            ("10.9.0.4", "lame", above),
            ("10.9.0.5", "refusing", other),
            ("10.9.0.7", "hidden", hidden),
        ):
            served(where, name, zone)
        stubs = {ZONE: ("10.9.0.2", 53), "example": ("10.9.0.4", 53)}
        stack.enter_context(unbound(folder / "resolver", stubs, address="10.9.0.53", port=53, prefix=prefix))
        yield World(client)


def by_server(rows: list[dict[str, Any]]) -> dict[tuple[str | None, str | None], dict[str, Any]]:
    return {((row["detail"] or {}).get("server_name"), row["address"]): row for row in rows}


def test_all_servers_of_the_zone_side_by_side(world: World) -> None:
    ((*rows,),) = world.ask({"name": f"www.{ZONE}", "type": "A", "all_servers": True})
    told = by_server(rows)
    one, six = told[f"ns1.{ZONE}", "10.9.0.2"], told[f"ns1.{ZONE}", "fd00:9::2"]
    two, lame = told[f"ns2.{ZONE}", "10.9.0.3"], told[f"ns3.{ZONE}", "10.9.0.4"]
    refusing, silent = told[f"ns4.{ZONE}", "10.9.0.5"], told[f"ns5.{ZONE}", "10.9.0.6"]
    assert [row["detail"]["serial"] for row in (one, six, two)] == [2026, 2026, 2025]
    assert [row["outcome"] for row in (one, six)] == ["ok", "ok"]
    assert {row["detail"]["nsid"] for row in (one, six, two)} == {"one", "one-six", "two"}
    assert all(row["detail"]["zone"] == ZONE and row["port"] == 53 for row in (one, six, two, lame))
    assert "aa" in one["detail"]["flags"] and "rd" not in one["detail"]["flags"]
    assert (two["outcome"], two["failure"]["errno"]) == ("name-fails", "NXDOMAIN")
    assert (lame["outcome"], lame["failure"]["errno"]) == ("name-fails", "LAME")
    assert lame["detail"]["serial"] is None and "lame" in lame["failure"]["detail"]
    assert refusing["failure"]["errno"] == "REFUSED"
    assert silent["outcome"] == "refused" and silent["failure"]["icmp"]["sender"] == "10.9.0.6"


def test_servers_that_cannot_be_asked_have_rows_too(world: World) -> None:
    ((*rows,),) = world.ask({"name": ZONE, "type": "SOA", "all_servers": True})
    untried = [row for row in rows if not row["samples"]]
    assert {row["address"] for row in untried} == {None, "127.0.0.1"}
    gone = next(row for row in untried if row["address"] is None)
    near = next(row for row in untried if row["address"] == "127.0.0.1")
    assert gone["detail"]["server_name"] == "gone.nowhere.example" and gone["detail"]["server"] is None
    assert gone["outcome"] == "name-fails" and "name server gone.nowhere.example" in gone["failure"]["detail"]
    assert near["outcome"] == "denied", "a zone must not lead an agent to itself"
    asked = [row for row in rows if row["outcome"] == "ok"]
    assert sorted(row["detail"]["serial"] for row in asked) == [2025, 2026, 2026]


def test_zone_above_the_name_by_family_and_through_a_named_resolver(world: World) -> None:
    only, deep, alias, six, missing = world.ask(
        {"name": f"www.{ZONE}", "type": "A", "all_servers": True, "family": "ipv6"},
        {"name": f"deep.er.{ZONE}", "type": "A", "all_servers": True, "server": "10.9.0.53"},
        {"name": f"alias.{ZONE}", "type": "A", "all_servers": True, "transport": "tcp"},
        {"name": f"nosuch.name.{ZONE}", "type": "TXT", "all_servers": True},
        {"name": "nowhere.elsewhere", "type": "A", "all_servers": True},
    )
    assert {row["address"] for row in only if row["address"]} == {"fd00:9::2"}
    for rows in (deep, alias, six):
        assert {row["detail"]["zone"] for row in rows if row["detail"]} == {ZONE}
    ok = [row for row in alias if row["outcome"] == "ok"]
    assert {row["address"] for row in ok} == {"10.9.0.2", "fd00:9::2"}
    assert {row["detail"]["transport"] for row in ok} == {"tcp"}
    (row,) = missing
    assert row["outcome"] == "name-fails" and row["address"] is None and row["samples"] == []


def test_servers_of_a_zone_that_the_host_does_not_know_are_found_by_the_server_named(world: World) -> None:
    asked = {"name": f"www.{HIDDEN}", "type": "A", "all_servers": True}
    through, own = world.ask({**asked, "server": "10.9.0.7"}, asked)
    told = by_server(through)
    assert told[f"ns1.{HIDDEN}", "10.9.0.7"]["outcome"] == "ok"
    assert told["gone.nowhere.example", None]["failure"]["kind"] == "name-server-failed"
    assert all(row["outcome"] != "ok" for row in own)


def test_ipv6_server_with_its_own_address(world: World) -> None:
    ((row,),) = world.ask({"name": f"www.{ZONE}", "type": "A", "server": "fd00:9::2"})
    assert (row["outcome"], row["address"], row["detail"]["nsid"]) == ("ok", "fd00:9::2", "one-six")


def test_search_list_is_told_as_it_was_tried(world: World) -> None:
    ((row,),) = world.ask({"name": "www", "type": "A"})
    told = row["detail"]
    assert row["outcome"] == "ok" and row["address"] == "10.9.0.53"
    assert told["tried"] == [
        {"name": f"www.corp.{ZONE}", "record_type": "A", "rcode": "NXDOMAIN", "found": False},
        {"name": f"www.{ZONE}", "record_type": "A", "rcode": "NOERROR", "found": True},
    ]
    lookup = told["lookup"]
    assert lookup["search"] == [f"corp.{ZONE}", ZONE] and lookup["ndots"] == 1
    assert lookup["candidates"] == [f"www.corp.{ZONE}", f"www.{ZONE}", "www"]
    assert lookup["order"] == ["files", "dns"] and lookup["hosts"] == []
    assert (lookup["source"], lookup["agreement"]) == ("dns", "same")
    assert told["system_addresses"] == ["192.0.2.1"]


def test_hosts_file_is_told_where_the_server_knows_nothing(world: World) -> None:
    ((row,),) = world.ask({"name": "ours.example", "type": "A"})
    told = row["detail"]
    assert row["outcome"] == "name-fails" and told["system_addresses"] == ["10.9.0.77"]
    assert told["name"] == "ours.example" and row["failure"]["detail"].startswith(
        "ours.example: no such name"
    )
    assert [one["name"] for one in told["tried"]][-1] == f"ours.example.{ZONE}", "the search list comes after"
    assert told["lookup"]["hosts"] == [{"line": 3, "address": "10.9.0.77", "names": ["ours.example", "ours"]}]
    assert (told["lookup"]["source"], told["lookup"]["agreement"]) == ("hosts-file", "only-system")
    assert any("/etc/hosts line 3 has ours.example as 10.9.0.77" in line for line in row["log"])

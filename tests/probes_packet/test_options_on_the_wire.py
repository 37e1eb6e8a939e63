"""Source, DSCP, TTL and don't-fragment of every kind, as the router's counters see them."""

import json
import subprocess
import sys

import pytest
from probemesh_shared.words import Kind

from tests.probes_packet.conftest import Lab

pytestmark = pytest.mark.netns

SOURCES = {"ip": "10.77.1.50", "ip6": "fd77:1::50"}
HOSTS = {"ip": "10.77.2.2", "ip6": "fd77:2::2"}
HOPS = {"ip": "ttl", "ip6": "hoplimit"}
AS_ASKED, ANY = "as_asked", "any"

#: Of kinds that send what the options say; traces and sizes choose TTL and length themselves.
TARGETS = {
    Kind.ICMP: "icmp:{host}",
    Kind.TCP: "tcp://{bracketed}:4000",
    Kind.UDP: "udp://{bracketed}:4000",
    Kind.DNS: "dns:a.example@{host}",
    Kind.TLS: "{bracketed}:4000",
    Kind.HTTP: "http://{bracketed}:4000/",
    Kind.LADDER: "{bracketed}:4000",
}


def probe(lab: Lab, *words: str) -> None:
    """``mesh-agent probe`` in A; nobody listens at B, a packet that leaves is enough."""
    command = ["ip", "netns", "exec", lab.name("a"), sys.executable, "-m", "probemesh_agent", "probe", *words]
    done = subprocess.run([*command, "--count", "1", "--timeout", "0.3"], capture_output=True, timeout=20)
    assert done.returncode in (0, 1), done.stderr.decode()


def counted(lab: Lab) -> dict[str, int]:
    listed = json.loads(lab.at("r", "nft", "-j", "list", "counters"))["nftables"]
    return {one["counter"]["name"]: one["counter"]["packets"] for one in listed if "counter" in one}


@pytest.fixture(scope="module")
def sources(lab: Lab) -> Lab:
    for family, address in SOURCES.items():
        nodad = ["nodad"] if family == "ip6" else []
        width = 24 if family == "ip" else 64
        lab.at("a", "ip", "addr", "add", f"{address}/{width}", "dev", "e0", *nodad)
    return lab


def watch(lab: Lab, family: str, match: str) -> None:
    """Counts what goes from A to B, and what of it is as ``match`` says."""
    to = f"{family} daddr {HOSTS[family]}"
    lab.rules(
        "r",
        f"""table inet w {{
          counter {ANY} {{}}
          counter {AS_ASKED} {{}}
          chain c {{ type filter hook prerouting priority -300;
            {to} counter name {ANY}
            {to} {match} counter name {AS_ASKED}
          }}
        }}""",
    )


def spelled(kind: Kind, family: str) -> str:
    host = HOSTS[family]
    return TARGETS.get(kind, "icmp:{host}").format(host=host, bracketed=f"[{host}]" if ":" in host else host)


@pytest.mark.parametrize("family", ["ip", "ip6"])
@pytest.mark.parametrize("kind", list(TARGETS))
def test_source_dscp_and_ttl_are_on_every_packet(sources: Lab, kind: Kind, family: str) -> None:
    source = SOURCES[family]
    watch(sources, family, f"{family} saddr {source} {family} {HOPS[family]} 9 {family} dscp ef")
    words = ["--source", source, "--ttl", "9", "--dscp", "46"]
    probe(sources, spelled(kind, family), "--kind", kind.value, *words)
    seen = counted(sources)
    assert seen[AS_ASKED] == seen[ANY] > 0


@pytest.mark.parametrize("kind", [*TARGETS, Kind.TRACE, Kind.MTU])
def test_a_source_may_be_an_interface(sources: Lab, kind: Kind) -> None:
    watch(sources, "ip", 'iifname "r1"')
    probe(sources, spelled(kind, "ip"), "--kind", kind.value, "--source", "e0")
    seen = counted(sources)
    assert seen[AS_ASKED] == seen[ANY] > 0


@pytest.mark.parametrize("kind", [Kind.ICMP, Kind.UDP])
def test_size_and_dont_fragment(sources: Lab, kind: Kind) -> None:
    watch(sources, "ip", "ip length 1028 ip frag-off & 0x4000 != 0")
    probe(sources, spelled(kind, "ip"), "--kind", kind.value, "--size", "1000", "--dont-fragment")
    seen = counted(sources)
    assert seen[AS_ASKED] == seen[ANY] > 0


@pytest.mark.parametrize("kind", [Kind.ICMP, Kind.UDP])
def test_what_does_not_fit_leaves_in_fragments_unless_that_is_forbidden(sources: Lab, kind: Kind) -> None:
    """The first fragment is a full packet; conntrack of the router would put them together again."""
    watch(sources, "ip", "ip length > 1400")
    probe(sources, spelled(kind, "ip"), "--kind", kind.value, "--size", "2000")
    assert counted(sources)[ANY] >= 1
    watch(sources, "ip", "ip length > 1400")
    probe(sources, spelled(kind, "ip"), "--kind", kind.value, "--size", "2000", "--dont-fragment")
    assert counted(sources)[ANY] == 0

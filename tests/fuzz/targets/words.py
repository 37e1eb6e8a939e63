"""What people and jobs name things by: targets, selectors, name servers, expectations, names of agents."""

from ipaddress import ip_address

from probemesh_agent.net.literals import parse_literal
from probemesh_shared.errors import InvalidRequest, MeshError
from probemesh_shared.expectations import checked, parse_expectation
from probemesh_shared.model import AgentInfo, Target
from probemesh_shared.names import check_name, suggest_name
from probemesh_shared.selectors import check_selection, select
from probemesh_shared.targets import parse_server, parse_target, unparse

from tests.fuzz.checks import pick, raises_only

_FLEET = (AgentInfo("lisbon-1", "lisbon", {"role": "db"}), AgentInfo("tokyo-1", "tokyo"))
SEEDS = (
    b"\0h.example:22,80-90",
    b"\0https://[fe80::1%25eth0]:8443/a?b#c",
    b"\0dns:1.2.0.192.in-addr.arpa/PTR@[::1]:5353",
    b"\0agent:lisbon-1:443",
    b"\0\xe2\x98\x83.example",
    b"\x000x7f.1:80",
    b"\1site=lis*+role=db,tokyo-?",
    b"\2[::1]:5353",
    b"\3status=404,200-299",
    b"\3json=/a/0/b=7",
    b"\3rcode=NXDOMAIN",
    b"\3answer=hex:0d0a",
    b"\3expires-in=30d",
    b"\3rtt-max=999.9999999ms",
    b"\3header=ETag: a",
    b"\4Lisbon Host.1",
    b"\0050x7f.1",
    b"\5::ffff:127.0.0.1%1",
)


def read(data: bytes) -> None:
    way, rest = pick(data, (_target, _selector, _server, _expectation, _name, _literal))
    way(rest.decode("utf-8", "surrogateescape"))


def _target(text: str) -> None:
    target = raises_only(InvalidRequest, lambda: parse_target(text))
    if target is not None:
        assert target.text.isascii() and target.text.isprintable() and len(target.text) <= 8192
        assert isinstance(target, Target) and parse_target(target.text) == target
        assert unparse(target) == target.text


def _selector(text: str) -> None:
    raises_only(InvalidRequest, lambda: check_selection(text, None, 3))
    names = raises_only(MeshError, lambda: select(text, None, None, _FLEET))
    assert names is None or set(names) <= {"self", "lisbon-1", "tokyo-1"}


def _server(text: str) -> None:
    found = raises_only(InvalidRequest, lambda: parse_server(text))
    assert found is None or 0 < found[1] < 65_536


def _expectation(text: str) -> None:
    found = raises_only(InvalidRequest, lambda: parse_expectation(text))
    if found is not None:
        assert checked(found) == found, "the canonical spelling is canonical"
        assert parse_expectation(f"{found.key}={found.value}") == found, "and reads as it is written"


def _name(text: str) -> None:
    raises_only(InvalidRequest, lambda: check_name(text, "name"))
    better = suggest_name(text)
    assert better is None or check_name(better, "name") == better


def _literal(text: str) -> None:
    found = parse_literal(text)
    assert found is None or ip_address(str(found)) == found

"""Scenarios in brief form, ``VANTAGE KIND ADDRESS[:PORT] HOW [xATTEMPTS] [KEY=VALUE]…`` → the results a run
would give.

KEY: ``rtt`` (ms), ``resolves``, ``by`` and ``lookup`` (addresses by the host's own resolver, which asks whom,
or has them from its ``hosts-file``), ``answers`` and ``type`` (records of the server asked; TTLs differ on
purpose), ``cert`` (any word: its DER), ``body``, ``location``, ``server`` (HTTP; the Date differs on
purpose), ``banner``, ``datagram``, ``proxy``, ``cut`` (HTTP; an answer that
broke off), ``late`` (answers to ping), ``answered`` (by whom in its place),
``wavers`` (how its first attempt failed, where the others held). ``_`` is a blank. HOW may be
``unmet:WORDS``: it answered, and not as expected."""

import itertools
import re
import tomllib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from probemesh_shared.expectations import unexpected
from probemesh_shared.failures import from_icmp, outcome_of
from probemesh_shared.model import (
    AgentInfo,
    Detail,
    DnsDetail,
    DnsRecord,
    Failure,
    HttpDetail,
    HttpPhases,
    IcmpDetail,
    IcmpError,
    Measurement,
    PortRange,
    Sample,
    SystemLookup,
    Target,
    TargetResult,
    TcpDetail,
    TlsDetail,
    UdpDetail,
    Vantage,
)
from probemesh_shared.outcomes import vantage_outcome
from probemesh_shared.words import DnsSource, FailureKind, Family, Kind, Origin, Outcome, Stage

FOLDER = Path(__file__).parent / "scenarios"

_K, _O = FailureKind, Origin
#: word → (stage, kind, origin)
FAILURES: dict[str, tuple[Stage, FailureKind, Origin]] = {
    "silent": (Stage.CONNECT, _K.TIMEOUT, _O.UNKNOWN),
    "refused": (Stage.CONNECT, _K.REFUSED, _O.TARGET),
    "unknown-sender": (Stage.CONNECT, _K.UNREACHABLE, _O.PATH),
    "no-route": (Stage.CONNECT, _K.NO_ROUTE, _O.AGENT),
    "own-filter": (Stage.SEND, _K.LOCAL_FILTER, _O.AGENT),
    "descriptors": (Stage.CONNECT, _K.LOCAL_RESOURCE, _O.AGENT),
    "denied": (Stage.CONNECT, _K.DENIED, _O.AGENT),
    "unsupported": (Stage.CONNECT, _K.UNSUPPORTED, _O.AGENT),
    "deadline": (Stage.CONNECT, _K.DEADLINE, _O.AGENT),
    "own-address": (Stage.CONNECT, _K.OWN_ADDRESS, _O.AGENT),
    "not-addressable": (Stage.RESOLVE, _K.NOT_ADDRESSABLE, _O.AGENT),
    "nxdomain": (Stage.RESOLVE, _K.NO_SUCH_NAME, _O.TARGET),
    "no-address": (Stage.RESOLVE, _K.NO_ADDRESS, _O.TARGET),
    "servfail": (Stage.RESOLVE, _K.NAME_SERVER_FAILED, _O.RESOLVER),
    "resolver-silent": (Stage.RESOLVE, _K.TIMEOUT, _O.RESOLVER),
    "alert": (Stage.TLS, _K.TLS_ALERT, _O.TARGET),
    "hello-silent": (Stage.TLS, _K.TIMEOUT, _O.UNKNOWN),
    "hello-reset": (Stage.TLS, _K.RESET, _O.UNKNOWN),
    "answer-silent": (Stage.HTTP, _K.TIMEOUT, _O.UNKNOWN),
    "answer-reset": (Stage.HTTP, _K.RESET, _O.UNKNOWN),
    "proxy-silent": (Stage.PROXY, _K.TIMEOUT, _O.UNKNOWN),
    "proxy-refuses": (Stage.PROXY, _K.STATUS_UNEXPECTED, _O.PATH),
    "answer-closed": (Stage.HTTP, _K.CLOSED, _O.TARGET),
    "too-big": (Stage.SEND, _K.TOO_BIG, _O.PATH),
}


#: For what must not count as a difference.
_DIFFERENT = itertools.count(1)


@dataclass(frozen=True)
class Scenario:
    name: str
    results: tuple[TargetResult, ...]
    agents: tuple[AgentInfo, ...]
    expected: tuple[dict[str, Any], ...]


def split_address(text: str) -> tuple[str | None, int | None]:
    if text == "-":
        return None, None
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port[1:]) if port else None
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, int(port)
    return text, None


def icmp_failure(word: str, address: str) -> Failure:
    code, _, sender = word.removeprefix("icmp:").partition("@")
    kind, number = (int(part) for part in code.split("/"))
    family = Family.IPV6 if ":" in address else Family.IPV4
    own = sender.startswith("own=")
    sender = sender.removeprefix("own=")
    error = IcmpError(family, kind, number, sender or None)
    failure = from_icmp(Stage.CONNECT, error, target=address, own=(sender,) if own else ())
    assert failure is not None
    return failure


def failure_of(kind: Kind, how: str, address: str | None) -> Failure | None:
    if how.startswith("icmp:"):
        assert address is not None
        return icmp_failure(how, address)
    if how.startswith("unmet:"):
        return unexpected(kind, how.removeprefix("unmet:").replace("_", " "))
    if how.startswith("status:"):
        return Failure(Stage.HTTP, _K.STATUS_UNEXPECTED, _O.TARGET, how)
    return Failure(*FAILURES[how], how) if how in FAILURES else None


def detail_of(kind: Kind, how: str, more: dict[str, str], failure: Failure | None) -> Detail | None:
    word, _, number = how.partition(":")
    chain = (more["cert"].encode(),) if "cert" in more else ()
    tls = TlsDetail(chain=chain, verified=False, verify_code=int(number)) if word == "unverified" else None
    tls = TlsDetail(chain=chain, verified=True) if word == "verified" else tls
    if kind is Kind.HTTP:
        made = http_detail(int(number) if word == "status" else int(more.get("status", 200)), tls, more)
        phases = HttpPhases(total_ms=None if "cut" in more else 1.5)
        return replace(made, proxy=more.get("proxy"), phases=phases)
    if kind is Kind.DNS:
        return dns_detail(how, more, failure)
    if kind is Kind.ICMP:
        others = tuple(more["answered"].split(",")) if "answered" in more else ()
        return IcmpDetail(late=int(more.get("late", 0)), answered_by=others)
    if "banner" in more:
        return TcpDetail(more["banner"].encode(), more.get("protocol"))
    return UdpDetail("open", bytes.fromhex(more["datagram"])) if "datagram" in more else tls


def http_detail(status: int, tls: TlsDetail | None, more: dict[str, str]) -> HttpDetail:
    body = more["body"].encode() if "body" in more else None
    headers = (("Date", f"{next(_DIFFERENT)} Nov"), ("Server", more.get("server", "nginx")))
    size = None if body is None else len(body)
    return HttpDetail(
        status=status, headers=headers, tls=tls, body=body, body_size=size, location=more.get("location")
    )


def dns_detail(how: str, more: dict[str, str], failure: Failure | None) -> DnsDetail | None:
    by = (more["by"],) if "by" in more else ()
    found = tuple(more["resolves"].split(",")) if "resolves" in more else ()
    source = DnsSource(more["lookup"]) if "lookup" in more else None
    own = DnsDetail(
        "web.internal", "A+AAAA", True, system_addresses=found, system_failure=failure, resolvers=by
    )
    if "answers" not in more and "server" not in more:
        return own if found or by else None
    kind = more.get("type", "A")
    values = [value.replace("_", " ") for value in more["answers"].split(",")] if "answers" in more else []
    records = tuple(DnsRecord("web.internal", kind, next(_DIFFERENT), value) for value in values)
    rcode = "NXDOMAIN" if how == "nxdomain" else "SERVFAIL" if how == "servfail" else "NOERROR"
    asked = replace(own, record_type=kind, server=more["server"], rcode=rcode, answers=records)
    lookup = SystemLookup(source=source) if source else None
    return replace(asked, system=bool(found), system_failure=None, lookup=lookup)


def measurement(line: str, target: Target) -> tuple[str, Measurement]:
    """One row; ``ok``, ``verified`` and ``unverified:CODE`` held."""
    name, kind_word, where, how, *rest = line.split()
    more = dict(word.split("=", 1) for word in rest if "=" in word)
    times = [word for word in rest if "=" not in word]
    kind = Kind(kind_word)
    address, port = split_address(where)
    failure = failure_of(kind, how, address)
    held = ("ok", "verified", "unverified")
    assert failure is not None or how.partition(":")[0] in held, f"unknown word {how}"
    outcome = outcome_of(failure) if failure else Outcome.OK
    count = int(times[0].removeprefix("x")) if times else 3
    rtt = None if failure else float(more.get("rtt", 1.5))
    samples = tuple(Sample(i, i * 200.0, rtt, outcome, failure) for i in range(count))
    if "wavers" in more:
        other = failure_of(kind, more["wavers"], address)
        assert other is not None
        samples = (Sample(0, 0.0, None, outcome_of(other), other), *samples[1:])
    detail = detail_of(kind, how, more, failure)
    row = Measurement(kind, 0, target.text, address, port, outcome, 1, samples, failure, detail)
    return name, row


_TARGET = re.compile(r"(?:\w+://|dns:|agent:)?(?P<host>[\w.-]+)(?::(?P<port>\d+)\Z)?")


def read_target(table: dict[str, Any]) -> Target:
    found = _TARGET.match(table["target"])
    assert found is not None
    one = [[int(found["port"])] * 2] if found["port"] else []
    ports = tuple(PortRange(*span) for span in table.get("ports", one))
    kind = Kind(table["kind"]) if "kind" in table else None
    server, agent = table.get("server"), table.get("agent")
    return Target(table["target"], found["host"], ports, kind, server=server, agent=agent)


def read_result(table: dict[str, Any]) -> tuple[TargetResult, tuple[AgentInfo, ...]]:
    target = read_target(table)
    rows: defaultdict[str, list[Measurement]] = defaultdict(list)
    for line in table.get("rows", ()):
        name, row = measurement(line, target)
        rows[name].append(row)
    known = table.get("agents", {})
    lost = table.get("lost", ())
    names = sorted({*rows, *known, *lost})
    agents = tuple(
        AgentInfo(
            name,
            known.get(name, {}).get("site", name.partition("-")[0]),
            known.get(name, {}).get("labels", {}),
            addresses=tuple(known.get(name, {}).get("addresses", ())),
        )
        for name in names
    )
    vantages = tuple(vantage(agent, rows[agent.name], agent.name in lost) for agent in agents)
    return TargetResult(target, 1, vantages), agents


def vantage(agent: AgentInfo, rows: list[Measurement], lost: bool) -> Vantage:
    if lost:
        return Vantage(agent.name, agent.site, Outcome.AGENT_LOST, reason="the link did not come back")
    outcome, failed_at, is_target = vantage_outcome(rows, ladder=True)
    return Vantage(agent.name, agent.site, outcome, failed_at, tuple(rows), is_target)


def load() -> list[Scenario]:
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        for table in tomllib.loads(path.read_text())["case"]:
            result, agents = read_result(table)
            expected = tuple(table.get("expect", ()))
            found.append(Scenario(f"{path.stem}: {table['name']}", (result,), agents, expected))
    return found

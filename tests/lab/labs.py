"""Labs as data: what is built, what is broken in it, and what is true then. Read from ``topologies/*.toml``;
pure but for that.

A file holds ``[topology.NAME]`` tables, ``[[lab]]`` tables, or both. A topology says which hosts there
are, how they are linked and routed, and which of them run an agent under which addresses. ``extends``
takes all of another and adds to it.

A lab plays on one topology (``base`` where it does not say) and breaks it::

    rules.HOST.HOOK = [RULE, …]     filter rules in table inet f; HOOK may carry a priority: "prerouting -450"
    nft.HOST = TEXT                 a ruleset as nft reads it
    sysctl.HOST = {name = value}    given back afterwards
    run.HOST = [COMMAND, …]         with undo.HOST = [COMMAND, …]; a COMMAND is one line
    service.HOST = [SERVICE, …]     beside or, by port, in place of the usual ones (tests/lab/services.py)

and says the truth, ``forward`` (A→B) and ``reverse`` (B→A), words relative to each one's initiator::

    verdict    the fault; "reachable" where there is none (the default); "any-fault", "any": not judged by it
    set        verdicts that cannot be told apart: the answer must be undetermined and name all of them
    may        true: undetermined will do, if the truth is among what it names
    or         other verdicts that are true as well
    at         the host that does it: an answer that names a place must name that one
    plain      what an ordinary socket sees (a word of tests/lab/plain.py), where it does not follow
    findings   verdicts that findings have to name     findings_may    may, beside the verdict
    forbidden  that none may name

``once`` are the transports that every run of the tests looks at, where those of its sisters do for the rest.
``nat.AGENT`` is what ``meshctl nat`` has to say of an agent.

``[lab.when."udp"]``, ``"bare"`` (no service on the port), ``"v6"``, ``"both"`` (no family was asked for),
``"raw"`` (CAP_NET_RAW), ``"masked"`` (newer counters hidden), or several joined by ``+``, say what else is
true then; the more special wins.
"""

import copy
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("topologies")
PORT, REVERSE_PORT = 5001, 7001
#: What stands on the ports of A and B unless a lab says otherwise.
USUAL = {"b": (f"echo {PORT}",), "a": (f"echo {REVERSE_PORT}",)}


@dataclass(frozen=True)
class Link:
    """``ends`` are ``HOST.INTERFACE``; ``addresses`` with prefix length, those of either end."""

    ends: tuple[str, str]
    addresses: tuple[tuple[str, ...], tuple[str, ...]]
    delay_ms: float = 0.0
    mtu: int | None = None


@dataclass(frozen=True)
class Topology:
    """``agents`` says by which addresses each is advertised; none: by all that it has. ``path`` are the
    hosts that a packet from A to B sees, in their order, ``path_back`` those of the answer. ``standing``
    are rulesets that all its labs have. ``controller`` ("HOST ADDRESS"): it is a host of the lab like any
    other, and there is no network for management."""

    name: str
    about: str
    drawing: str
    hosts: tuple[str, ...]
    routers: tuple[str, ...]
    links: tuple[Link, ...]
    routes: Mapping[str, tuple[str, ...]]
    agents: Mapping[str, tuple[str, ...]]
    path: tuple[str, ...]
    path_back: tuple[str, ...]
    run: Mapping[str, tuple[str, ...]]
    standing: Mapping[str, str]
    controller: str | None = None

    def addresses(self, host: str) -> tuple[str, ...]:
        """All of a host, without prefix length."""
        return tuple(
            address.partition("/")[0]
            for link in self.links
            for end, addresses in zip(link.ends, link.addresses, strict=True)
            if end.partition(".")[0] == host
            for address in addresses
        )


@dataclass(frozen=True)
class Truth:
    """What is so in one direction."""

    verdict: str = "reachable"
    set: tuple[str, ...] = ()
    may: bool = False
    others: tuple[str, ...] = ()
    at: str | None = None
    plain: str | None = None
    findings: tuple[str, ...] = ()
    findings_may: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    path_verdict: str | None = None
    service_verdict: str | None = None


@dataclass(frozen=True, eq=False)
class Lab:
    """One network with what is broken in it; there is one object of each."""

    id: str
    about: str
    topology: str
    transports: tuple[str, ...]
    families: tuple[str, ...]
    healthy: bool
    bare: bool
    rules: Mapping[str, Mapping[str, tuple[str, ...]]]
    nft: Mapping[str, str]
    sysctl: Mapping[str, Mapping[str, Any]]
    run: Mapping[str, tuple[str, ...]]
    undo: Mapping[str, tuple[str, ...]]
    service: Mapping[str, tuple[str, ...]]
    arguments: tuple[str, ...]
    port: int
    reverse_port: int
    ends: tuple[str, str]
    dial: Mapping[str, str]
    truths: Mapping[frozenset[str], Mapping[str, Mapping[str, Any]]]
    hit: bool
    nat: Mapping[str, Mapping[str, Any]]
    once: tuple[str, ...]
    path: tuple[str, ...] = ()
    path_back: tuple[str, ...] = ()

    def cases(self) -> Iterator["Case"]:
        """Every combination that makes sense for this lab."""
        for transport in self.transports:
            for family in self.families:
                yield Case(self, transport, family)
                if self.bare and transport != "icmp":
                    yield Case(self, transport, family, bare=True)


@dataclass(frozen=True)
class Case:
    """A lab, looked at one way."""

    lab: Lab
    transport: str
    family: str
    bare: bool = False
    raw: bool = False
    masked: bool = False

    @property
    def tags(self) -> frozenset[str]:
        words = {self.transport, self.family, "bare" if self.bare else "served"}
        return frozenset(
            words | ({"raw"} if self.raw else {"plain"}) | ({"masked"} if self.masked else set())
        )

    @property
    def name(self) -> str:
        words = [self.lab.id, self.transport, self.family]
        words += [word for word in ("bare", "raw", "masked") if word in self.tags]
        return "-".join(words)

    def truth(self, direction: str) -> Truth:
        """``direction`` is ``forward`` or ``reverse``."""
        found: dict[str, Any] = {}
        for key in sorted(self.lab.truths, key=lambda key: (len(key), sorted(key))):
            if key <= self.tags:
                found |= self.lab.truths[key].get(direction, {})
        if self.bare and direction == "forward" and found.get("verdict", "reachable") == "reachable":
            found |= {"verdict": "port-closed", "service_verdict": "port-closed", "path_verdict": "reachable"}
        return _truth(found, self.lab.id)

    @property
    def hit(self) -> bool:
        """Whether every rule with a counter has to count."""
        hit = self.lab.hit
        for key in sorted(self.lab.truths, key=lambda key: (len(key), sorted(key))):
            if key <= self.tags:
                hit = bool(self.lab.truths[key].get("hit", hit))
        return hit

    def services(self) -> dict[str, tuple[str, ...]]:
        """By host, what runs there."""
        found: dict[str, dict[str, str]] = {}
        for host, lines in (*USUAL.items(), *self.lab.service.items()):
            for line in lines:
                found.setdefault(host, {})[line.split()[1]] = line
        if self.bare:
            found.get(self.lab.ends[1], {}).pop(str(self.lab.port), None)
        return {
            host: tuple(line for line in lines.values() if not line.startswith("none "))
            for host, lines in found.items()
        }

    def command(self) -> tuple[str, ...]:
        """What is asked of meshctl."""
        family = {"v4": ("-4",), "v6": ("-6",), "both": ()}[self.family]
        what = ("--icmp",) if self.transport == "icmp" else (f"--{self.transport}", str(self.lab.port))
        back = () if self.transport == "icmp" else ("--reverse-port", str(self.lab.reverse_port))
        return ("diagnose", *self.lab.ends, *what, *back, *family, *self.lab.arguments)


def _truth(found: dict[str, Any], lab: str) -> Truth:
    lists = {"set", "or", "findings", "findings_may", "forbidden"}
    known = lists | {"verdict", "may", "at", "plain", "path_verdict", "service_verdict"}
    assert not (wrong := set(found) - known), f"{lab}: a truth knows no {', '.join(wrong)}"
    given = {"others" if k == "or" else k: tuple(v) if k in lists else v for k, v in found.items()}
    return Truth(**given)


@dataclass
class Library:
    topologies: dict[str, Topology] = field(default_factory=dict)
    labs: dict[str, Lab] = field(default_factory=dict)


@cache
def library() -> Library:
    """All that there is, read once."""
    tables: dict[str, dict[str, Any]] = {}
    labs: list[tuple[str, dict[str, Any]]] = []
    for file in sorted(FOLDER.glob("*.toml")):
        data = tomllib.loads(file.read_text())
        tables |= data.get("topology", {})
        labs += [(file.name, table) for table in data.get("lab", [])]
    found = Library({name: _topology(name, tables) for name in tables})
    for file_name, table in labs:
        lab = _lab(table, file_name)
        assert lab.id not in found.labs, f"{file_name}: {lab.id} is there twice"
        assert lab.topology in found.topologies, f"{file_name}: {lab.id} plays on {lab.topology}, not known"
        found.labs[lab.id] = lab
    return found


def _merged(name: str, tables: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    table = copy.deepcopy(tables[name])
    if (base := table.pop("extends", None)) is None:
        return table
    found = _merged(base, tables)
    without = set(table.pop("without_links", []))
    found["link"] = [link for link in found.get("link", []) if not without & set(link["ends"])]
    for key, value in table.items():
        if key in ("hosts", "routers", "link"):
            found[key] = found.get(key, []) + value
        elif key in ("routes", "agents", "run"):
            found[key] = found.get(key, {}) | value
        else:
            found[key] = value
    return found


def _topology(name: str, tables: Mapping[str, dict[str, Any]]) -> Topology:
    table = _merged(name, tables)
    links = tuple(
        Link(
            ends=(link["ends"][0], link["ends"][1]),
            addresses=(tuple(link["addresses"][0]), tuple(link["addresses"][1])),
            delay_ms=link.get("delay_ms", 0.0),
            mtu=link.get("mtu"),
        )
        for link in table["link"]
    )
    path = tuple(table["path"])
    return Topology(
        name=name,
        about=table["about"],
        drawing=table["drawing"].strip("\n"),
        hosts=tuple(table["hosts"]),
        routers=tuple(table["routers"]),
        links=links,
        routes=_tuples(table.get("routes", {})),
        agents=_tuples(table["agents"]),
        path=path,
        path_back=tuple(table.get("path_back", path[::-1])),
        run=_tuples(table.get("run", {})),
        standing=table.get("standing", {}),
        controller=table.get("controller"),
    )


def _lab(table: dict[str, Any], file_name: str) -> Lab:
    table = dict(table)
    when = {frozenset(key.split("+")): value for key, value in table.pop("when", {}).items()}
    always = {d: table.pop(d) for d in ("forward", "reverse") if d in table}
    healthy = table.pop("healthy", False)
    transports = tuple(table.pop("transports", ("tcp", "udp")))
    lab = Lab(
        id=table.pop("id"),
        about=table.pop("about"),
        topology=table.pop("topology", "base"),
        transports=transports,
        families=tuple(table.pop("families", ("v4", "v6"))),
        healthy=healthy,
        bare=table.pop("bare", True),
        rules={h: _tuples(hooks) for h, hooks in table.pop("rules", {}).items()},
        nft=table.pop("nft", {}),
        sysctl=table.pop("sysctl", {}),
        run=_tuples(table.pop("run", {})),
        undo=_tuples(table.pop("undo", {})),
        service=_tuples(table.pop("service", {})),
        arguments=tuple(table.pop("arguments", ())),
        port=table.pop("port", PORT),
        reverse_port=table.pop("reverse_port", REVERSE_PORT),
        ends=tuple(table.pop("ends", ("a", "b"))),
        dial=table.pop("dial", {}),
        truths={frozenset(): always, **when},
        hit=table.pop("hit", True),
        nat=table.pop("nat", {}),
        once=tuple(table.pop("once", transports)),
        path=tuple(table.pop("path", ())),
        path_back=tuple(table.pop("path_back", ())),
    )
    assert not table, f"{file_name}: {lab.id} knows no {', '.join(table)}"
    return lab


def _tuples(table: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(value) for key, value in table.items()}

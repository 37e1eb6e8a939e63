"""A contract file: read strictly, everything that is wrong with it told at once, each with its line. Pure but
for :func:`load`."""

import re
import tomllib
from pathlib import Path as FilePath
from typing import Any, NotRequired, TypedDict

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import Target
from probemesh_shared.selectors import check_standing
from probemesh_shared.targets import count_ports, parse_target
from probemesh_shared.words import Kind

from probemesh_controller.cli.specs import Asked, build_specs, default_deadline
from probemesh_controller.contracts.model import Clause, Contract
from probemesh_controller.meshes.filetext import load_text
from probemesh_controller.meshes.lines import Lines
from probemesh_controller.meshes.model import Problem
from probemesh_controller.meshes.table import Report, Table

KINDS = (Kind.ICMP, Kind.DNS, Kind.TCP, Kind.UDP, Kind.TLS, Kind.HTTP)
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)\Z")
_AT_END = " (at end of document)"


#: As it is written: ``from`` is a word of Python's.
CLAUSE = TypedDict(
    "CLAUSE",
    {
        "name": NotRequired[str],
        "from": NotRequired[str],
        "exclude": NotRequired[str],
        "to": NotRequired[Any],
        "to_agents": NotRequired[str],
        "port": NotRequired[Any],
        "kind": NotRequired[str],
        "family": NotRequired[str],
        "expect": NotRequired[Any],
        "rtt_max": NotRequired[str],
        "loss_max": NotRequired[str],
    },
)


class FILE(TypedDict):
    must: NotRequired[Any]
    must_not: NotRequired[Any]
    count: NotRequired[int]
    timeout: NotRequired[str]
    deadline: NotRequired[str]


class ContractProblems(InvalidRequest):
    """A file that cannot be used. The message is the first problem; all of them are ``problems``, one line
    each."""

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        super().__init__(Problem(first.line, first.text).at(file), first.hint)
        self.problems = tuple(problem.at(file) for problem in problems)


def load(path: FilePath) -> Contract:
    """Raises :class:`ContractProblems`, and :class:`StateError` for what cannot be opened."""
    name, text = load_text(path, ContractProblems)
    return read(text, name)


def read(text: str, name: str) -> Contract:
    """``name`` stands in what is said about it. Raises :class:`ContractProblems`."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise ContractProblems(name, (_syntax(str(error), text),)) from error
    report = Report(Lines(text))
    root = Table(report, (), tables, FILE)
    count = root.whole("count", 1, 1000, 3)
    timeout_ns = root.duration_ns("timeout", 50_000_000, 60_000_000_000, 3_000_000_000)
    asked = Asked(count=count, timeout=(timeout_ns or 0) / 1e9)
    deadline_ns = root.duration_ns("deadline", 100_000_000, 3600_000_000_000)
    clauses: list[Clause] = []
    for key in ("must", "must_not"):
        for number, table in enumerate(root.tables(key, CLAUSE)):
            clause = _Reader(table, tables[key][number], key, number, asked).read()
            if clause is not None:
                clauses.append(clause)
    if not clauses and not report.problems:
        report.problems.append(Problem(None, "it declares nothing", "write [[must]] or [[must_not]]"))
    if report.problems:
        raise ContractProblems(name, tuple(sorted(report.problems, key=lambda one: one.line or 0)))
    deadline = default_deadline(asked) if deadline_ns is None else deadline_ns / 1e9
    clauses.sort(key=lambda clause: clause.line or 0)
    return Contract(name, tuple(clauses), deadline)


def _syntax(said: str, text: str) -> Problem:
    """Of something that is missing at the end, the last line that has anything."""
    found = _AT_LINE.search(said)
    line = int(found[1]) if found is not None else None
    if said.endswith(_AT_END):
        line = text.rstrip().count("\n") + 1
    said = _AT_LINE.sub("", said).removesuffix(_AT_END)
    return Problem(line, f"it is no TOML: {escape(said[:1].lower() + said[1:], 200)}")


class _Reader:
    """One clause."""

    def __init__(self, table: Table, raw: Any, key: str, number: int, asked: Asked) -> None:
        self._raw_port = raw.get("port")
        self._table, self._must, self._asked = table, key == "must", asked
        self._name = table.text("name") or f"{key} {number + 1}"

    def read(self) -> Clause | None:
        """None where something is wrong, which was told."""
        table = self._table
        before = len(table.report.problems)
        from_ = self._selector("from") or "all"
        exclude = self._selector("exclude")
        to_agents = self._selector("to_agents")
        targets = tuple(found for text, path in table.texts("to") if (found := self._target(text, path)))
        ports = self._ports()
        if "to" not in table and "to_agents" not in table:
            table.say("to", "this clause has no to", 'write to = "HOST:PORT", or to_agents = "SELECTOR"')
        if ports and to_agents is None:
            table.say("port", "port belongs to to_agents", "in a TARGET write it behind the host")
        word = table.choice("kind", KINDS)
        kind = None if word is None else Kind(word)
        family = table.choice("family", ("ipv4", "ipv6"))
        if len(table.report.problems) > before:
            return None
        specs = self._specs(kind, family, targets, to_agents, ports)
        if specs is None:
            return None
        return Clause(
            self._name,
            self._must,
            from_,
            exclude,
            targets,
            to_agents,
            ports,
            kind,
            specs,
            table.line,
        )

    def _selector(self, key: str) -> str | None:
        text = self._table.text(key, "a SELECTOR in quotes")
        if text is None:
            return None
        try:
            check_standing(text.replace("self", "x") if key == "from" else text)
        except InvalidRequest as error:
            self._table.report.refused(self._table.at(key), error)
        return text

    def _target(self, text: str, path: Any) -> Target | None:
        try:
            target = parse_target(text)
        except InvalidRequest as error:
            self._table.report.refused(path, error)
            return None
        if count_ports(target.ports) > 1:
            hint = "write each port as a TARGET of its own"
            self._table.report.say(path, f"'{escape(text, 80)}' has several ports", hint)
        return target

    def _ports(self) -> tuple[int, ...]:
        table = self._table
        if "port" not in table:
            return ()
        if not isinstance(self._raw_port, list):
            return tuple(int(one) for one in (table.number("port", 1, 65535, whole=True),) if one is not None)
        found = []
        for one, path in table.items("port"):
            if isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= 65535:
                found.append(one)
            else:
                table.report.say(path, "this is no port", "1 to 65535")
        return tuple(found)

    def _specs(self, kind: Kind | None, family: str | None, targets: Any, to_agents: Any, ports: Any) -> Any:
        table = self._table
        expect = [text for text, _ in table.texts("expect")]
        bounds = [(key, table.text(key)) for key in ("rtt_max", "loss_max")]
        expect += [f"{key.replace('_', '-')}={text}" for key, text in bounds if text is not None]
        if not self._must and any(text is not None for _, text in bounds):
            table.report.say(table.path, "a bound of what must not connect says nothing", "leave it out")
        aimed = list(targets)
        if to_agents is not None:
            aimed += [parse_target(text) for text in agent_targets("x", ports)]
        asked = Asked(
            kinds=() if kind is None else (kind,),
            count=self._asked.count,
            timeout=self._asked.timeout,
            ipv4=family == "ipv4",
            ipv6=family == "ipv6",
            expect=tuple(expect),
        )
        try:
            return build_specs(asked, aimed)
        except InvalidRequest as error:
            table.report.refused(table.path, error)
            return None


def agent_targets(name: str, ports: tuple[int, ...]) -> list[str]:
    """The TARGETs that mean one agent: at each port, or it alone."""
    return [f"agent:{name}:{port}" for port in ports] or [f"agent:{name}"]

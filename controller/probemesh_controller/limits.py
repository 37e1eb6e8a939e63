"""``limits.toml``: what the jobs of agents are narrowed to, by selector; what may go to one target; and how
many runs an operator may have at once.

    [[limit]]
    for = "site=berlin"
    networks = ["10.1.0.0/16"]
    ports = [443, "8000-8100"]

    [[budget]]
    networks = ["10.1.0.0/16"]
    connections-per-s = 20

    [runs]
    at-once = 16

Every limit that fits an agent holds for it. The file is read at start and again when it changes or on SIGHUP;
one that cannot be read, or is gone, leaves what it said before in force.
"""

import logging
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo, Narrowing
from probemesh_shared.narrowing import KEYS, read_narrowing
from probemesh_shared.selectors import check_standing, fits

from probemesh_controller.budgets import KEYS as BUDGET_KEYS
from probemesh_controller.budgets import Budgets, Entry, read_entry
from probemesh_controller.pacing import Budget
from probemesh_controller.runs import MAX_ACTIVE, RUNS_OF_ONE

log = logging.getLogger(__name__)

FILE = "limits.toml"
MOST_LIMITS = 1024
_MAX_FILE = 1 << 20
_MOST_KNOWN = 20_000
_Key = tuple[str, str | None, frozenset[tuple[str, str]]]
_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Limit:
    selector: str
    narrowing: Narrowing


@dataclass(frozen=True, slots=True)
class Said:
    """All that a file says. ``at_once``: runs of one operator."""

    limits: tuple[Limit, ...] = ()
    budgets: Budgets = field(default_factory=Budgets)
    at_once: int = RUNS_OF_ONE

    @property
    def in_words(self) -> str:
        counts = f"{len(self.limits)} limits, {len(self.budgets.entries)} budgets"
        return f"{counts}, {self.at_once} runs of one operator at once"


def read_limits(path: Path) -> Said:
    """What is shipped where there is no such file. Raises :class:`StateError` that names the file and the
    entry."""
    tables = _tables(path)
    if unknown := sorted(set(tables) - {"limit", "budget", "runs"}):
        raise _problem(
            path, f"'{escape(unknown[0], 40)}' is not known (write [[limit]], [[budget]] or [runs])"
        )
    limits = tuple(_limit(path, number, entry) for number, entry in _entries(path, tables, "limit"))
    budgets = tuple(_budget(path, number, entry) for number, entry in _entries(path, tables, "budget"))
    try:
        return Said(limits, Budgets(budgets), _at_once(path, tables))
    except InvalidRequest as error:
        raise _problem(path, f"[[budget]]: {error}") from error


def _tables(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _problem(path, f"cannot be read ({error.strerror or error})") from error
    if len(data) > _MAX_FILE:
        raise _problem(path, "larger than 1 MiB")
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise _problem(path, f"not TOML: {error}") from error


def _entries(path: Path, tables: Mapping[str, Any], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    entries = tables.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _problem(path, f"{name} must be a list of tables, each written [[{name}]]")
    if len(entries) > MOST_LIMITS:
        raise _problem(path, f"more than {MOST_LIMITS} entries of [[{name}]]")
    return iter(enumerate(entries, 1))


def _limit(path: Path, number: int, entry: Mapping[str, Any]) -> Limit:
    selector = entry.get("for")
    if not isinstance(selector, str):
        raise _problem(path, f'limit {number} does not say for whom: write for = "site=berlin"')
    lists = {key: value for key, value in entry.items() if key != "for"}
    try:
        check_standing(selector)
        return Limit(selector, read_narrowing(lists, f"{FILE} ({selector})"))
    except InvalidRequest as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise _problem(path, f"limit {number}, for '{escape(selector, 80)}': {error}{hint}") from error


def _budget(path: Path, number: int, entry: Mapping[str, Any]) -> Entry:
    try:
        return read_entry(entry)
    except InvalidRequest as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise _problem(path, f"budget {number}: {error}{hint}") from error


def _at_once(path: Path, tables: Mapping[str, Any]) -> int:
    table = tables.get("runs", {})
    if not isinstance(table, dict):
        raise _problem(path, "runs must be a table, written [runs]")
    if unknown := sorted(set(table) - {"at-once"}):
        raise _problem(path, f"[runs] has an unknown key '{escape(unknown[0], 40)}' (known: at-once)")
    value = table.get("at-once", RUNS_OF_ONE)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_ACTIVE:
        raise _problem(path, f"[runs] at-once must be a whole number from 1 to {MAX_ACTIVE}")
    return value


def _problem(path: Path, text: str) -> StateError:
    hint = f"a limit has for, and some of {', '.join(KEYS)}; a budget has {', '.join(BUDGET_KEYS)}"
    return StateError(f"{path}: {text}", hint)


class Limits:
    """Those of one file. Raises :class:`StateError` where it cannot be read at first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _stamp(path)
        self._said = read_limits(path)
        self._known: dict[_Key, tuple[Narrowing, ...]] = {}

    @property
    def said(self) -> Said:
        """Costs one stat(2)."""
        if _stamp(self._path) != self._seen:
            self.reload()
        return self._said

    def at_once(self) -> int:
        """Runs of one operator."""
        return self.said.at_once

    def budget_of(self, key: str) -> Budget:
        """As it was last read: runs ask for thousands of targets, and each of them begins with
        :meth:`at_once`."""
        return self._said.budgets.of(key)

    def reload(self) -> str | None:
        """What is wrong with the file, and that what it said before stays in force; None where it is good."""
        self._seen = _stamp(self._path)
        try:
            if self._seen is None and self._said != Said():
                raise _problem(self._path, "is gone; to limit nothing, leave it empty")
            self._said = read_limits(self._path)
            self._known.clear()
        except StateError as error:
            problem = f"{error}; what it said before stays in force"
            log.error("%s", problem)
            return problem
        log.info("%s was read: %s", self._path, self._said.in_words)
        return None

    def applied(self, agents: Iterable[AgentInfo]) -> tuple[AgentInfo, ...]:
        """With what holds for each by the file, beside what its token said."""
        entries = self.said.limits
        if not entries:
            return tuple(agents)
        return tuple(replace(agent, narrow=(*agent.narrow, *self._of(agent, entries))) for agent in agents)

    def _of(self, agent: AgentInfo, entries: tuple[Limit, ...]) -> tuple[Narrowing, ...]:
        """Looked up anew where the agent is called or labelled differently; the list is asked for often."""
        key = (agent.name, agent.site, frozenset(agent.labels.items()))
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[key] = tuple(e.narrowing for e in entries if fits(e.selector, agent))
        return found


def _stamp(path: Path) -> _Stamp:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_size, seen.st_mtime_ns

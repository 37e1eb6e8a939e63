"""``limits.toml``: what the jobs of agents are narrowed to, by selector.

    [[limit]]
    for = "site=berlin"
    networks = ["10.1.0.0/16"]
    ports = [443, "8000-8100"]

Every entry that fits an agent holds for it. The file is read at start and again when it changes or on SIGHUP;
one that cannot be read, or is gone, leaves what it said before in force.
"""

import logging
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo, Narrowing
from probemesh_shared.narrowing import KEYS, read_narrowing
from probemesh_shared.selectors import check_standing, fits

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


def read_limits(path: Path) -> tuple[Limit, ...]:
    """Nothing where there is no such file. Raises :class:`StateError` that names the file and the entry."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _problem(path, f"cannot be read ({error.strerror or error})") from error
    if len(data) > _MAX_FILE:
        raise _problem(path, "larger than 1 MiB")
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise _problem(path, f"not TOML: {error}") from error
    if unknown := sorted(set(tables) - {"limit"}):
        raise _problem(path, f"'{escape(unknown[0], 40)}' is not known (write [[limit]])")
    entries = tables.get("limit", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _problem(path, "limit must be a list of tables, each written [[limit]]")
    if len(entries) > MOST_LIMITS:
        raise _problem(path, f"more than {MOST_LIMITS} entries")
    return tuple(_limit(path, number, entry) for number, entry in enumerate(entries, 1))


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


def _problem(path: Path, text: str) -> StateError:
    return StateError(f"{path}: {text}", f"an entry has for, and some of {', '.join(KEYS)}")


class Limits:
    """Those of one file. Raises :class:`StateError` where it cannot be read at first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _stamp(path)
        self._entries = read_limits(path)
        self._known: dict[_Key, tuple[Narrowing, ...]] = {}

    @property
    def entries(self) -> tuple[Limit, ...]:
        """Costs one stat(2)."""
        if _stamp(self._path) != self._seen:
            self.reload()
        return self._entries

    def reload(self) -> str | None:
        """What is wrong with the file, and that what it said before stays in force; None where it is good."""
        self._seen = _stamp(self._path)
        try:
            if self._seen is None and self._entries:
                raise _problem(self._path, "is gone; to limit nothing, leave it empty")
            self._entries = read_limits(self._path)
            self._known.clear()
        except StateError as error:
            problem = f"{error}; what it said before stays in force"
            log.error("%s", problem)
            return problem
        log.info("%s was read: %d limits", self._path, len(self._entries))
        return None

    def applied(self, agents: Iterable[AgentInfo]) -> tuple[AgentInfo, ...]:
        """With what holds for each by the file, beside what its token said."""
        entries = self.entries
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

"""SELECTOR: which vantage points take part. Pure; what exists is handed in.

``all``  ``self``  names and globs  ``site=GLOB``  ``KEY=GLOB`` of a label; ``+`` is AND and binds tighter
than ``,`` which is OR. ``all`` and globs mean agents that are not revoked; only ``self`` means this machine.
``@last``  ``failed``: who took part in the last run, and who of them did not reach a target; those who are
not there any more are left out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import zip_longest

from probemesh_shared.errors import InvalidRequest, NotFound
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo
from probemesh_shared.names import did_you_mean
from probemesh_shared.words import AgentState

SELF, LAST, FAILED = "self", "@last", "failed"
_TERM = re.compile(r"[A-Za-z0-9.*?\[\]!_-]+\Z")
_GLOB = frozenset("*?[")
_KNOWN = "names, globs, site=NAME, LABEL=VALUE, all, self, failed, @last"


@dataclass(frozen=True, slots=True)
class LastRun:
    """What a run before this one left: its id, who took part, and who of them failed."""

    id: str
    names: frozenset[str]
    failed: frozenset[str]


@dataclass(frozen=True, slots=True)
class _There:
    """Who exists: agents that are not revoked, all of them, ``self`` or nobody; and the run before."""

    known: Sequence[AgentInfo]
    everyone: Sequence[AgentInfo]
    here: frozenset[str]
    last: LastRun | None

    def names(self) -> frozenset[str]:
        return self.here | frozenset(agent.name for agent in self.known)

    def of_last_run(self, term: str) -> frozenset[str]:
        if self.last is None:
            raise NotFound(
                f"'{term}' means a run before this one, and there is no saved run in this context yet",
                "meshctl probe TARGET makes one; meshctl history lists them",
            )
        return self.names() & (self.last.names if term == LAST else self.last.failed)


def select(
    selector: str,
    exclude: str | None,
    limit: int | None,
    agents: Sequence[AgentInfo],
    self_available: bool = True,
    last: LastRun | None = None,
) -> tuple[str, ...]:
    """The names taken part, ``self`` first, agents by site and name.

    ``limit`` caps the agents (``self`` does not count), spread over sites in turn, the same way every time.
    ``last`` is what ``@last`` and ``failed`` mean (:func:`needs_last_run` says whether they occur).
    Raises :class:`InvalidRequest` for what cannot be read, :class:`NotFound` for an agent that does not exist
    and where nothing is left.
    """
    check_selection(selector, exclude, limit)
    here = frozenset({SELF}) if self_available else frozenset[str]()
    known = [agent for agent in agents if agent.state is not AgentState.REVOKED]
    there = _There(known, agents, here, last)
    chosen = _evaluate(selector, there)
    if not chosen:
        raise _nobody(selector, there)
    if exclude is not None:
        chosen -= _evaluate(exclude, there)
        if not chosen:
            raise NotFound(f"nobody is left after --exclude '{escape(exclude, 80)}'")
    ordered = sorted((a for a in known if a.name in chosen), key=lambda a: (a.site or "", a.name))
    names = _spread(ordered, limit) if limit is not None else [agent.name for agent in ordered]
    return (*sorted(chosen & here), *names)


def check_selection(selector: str | None, exclude: str | None, limit: int | None) -> None:
    """What can be said without knowing who exists. Raises :class:`InvalidRequest`; None was not given."""
    for option, text in (("--from", selector), ("--exclude", exclude)):
        if text is None:
            continue
        if not text.strip():
            raise InvalidRequest(f"{option} is empty", _KNOWN)
        for term in _terms(text):
            _check_term(term, text)
    if limit is not None and limit < 1:
        raise InvalidRequest(f"--limit {limit} leaves nobody", "give 1 or more")


def check_standing(selector: str) -> None:
    """One that is kept, and means whoever it fits from then on. Raises :class:`InvalidRequest`."""
    check_selection(selector, None, None)
    if odd := next((term for term in _terms(selector) if term in (SELF, LAST, FAILED)), None):
        raise InvalidRequest(f"'{odd}' means nothing that lasts", "names, globs, site=NAME, LABEL=VALUE, all")


def fits(selector: str, agent: AgentInfo) -> bool:
    """Of a selector that :func:`check_standing` passed; a name that nobody bears fits nobody."""
    clauses = (clause.split("+") for clause in selector.split(","))
    return any(all(_fits(term.strip(), agent) for term in clause) for clause in clauses)


def _fits(term: str, agent: AgentInfo) -> bool:
    key, equals, pattern = term.partition("=")
    if equals:
        return _has(agent, key, pattern)
    return term == "all" or fnmatchcase(agent.name, term)


def needs_last_run(*selectors: str | None) -> bool:
    """Whether any of them speaks of the run before."""
    return any(term in (LAST, FAILED) for text in selectors if text for term in _terms(text))


def check_agent(name: str, agents: Sequence[AgentInfo]) -> None:
    """Raises :class:`NotFound` for a name that no agent bears, and for one that is revoked."""
    _by_name(name, [agent for agent in agents if agent.state is not AgentState.REVOKED], agents, ())


def _terms(selector: str) -> list[str]:
    return [term.strip() for term in re.split("[,+]", selector)]


def _evaluate(selector: str, there: _There) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for clause in selector.split(","):
        found |= frozenset.intersection(*(_term(term.strip(), there) for term in clause.split("+")))
    return found


def _check_term(term: str, selector: str) -> None:
    if not term:
        raise InvalidRequest(
            f"the selector '{escape(selector, 80)}' has an empty part",
            "join parts by ',' (or) and '+' (and): site=berlin+role=db,tokyo-1",
        )
    if term == LAST:
        return
    key, equals, pattern = term.partition("=")
    if not _TERM.match(key) or (equals and not _TERM.match(pattern)):
        raise InvalidRequest(f"'{escape(term, 80)}' is no selector", _KNOWN)


def _term(term: str, there: _There) -> frozenset[str]:
    if term == SELF:
        return there.here
    if term == "all":
        return frozenset(agent.name for agent in there.known)
    if term in (LAST, FAILED):
        return there.of_last_run(term)
    key, equals, pattern = term.partition("=")
    if equals:
        return frozenset(agent.name for agent in there.known if _has(agent, key, pattern))
    if _GLOB & set(term):
        return frozenset(agent.name for agent in there.known if fnmatchcase(agent.name, term))
    return _by_name(term, there.known, there.everyone, (SELF,))


def _has(agent: AgentInfo, key: str, pattern: str) -> bool:
    value = agent.site if key == "site" else agent.labels.get(key)
    return value is not None and fnmatchcase(value, pattern)


def _by_name(
    name: str, known: Sequence[AgentInfo], everyone: Sequence[AgentInfo], more: tuple[str, ...]
) -> frozenset[str]:
    if any(agent.name == name for agent in known):
        return frozenset({name})
    if any(agent.name == name for agent in everyone):
        raise NotFound(f"the agent '{name}' is revoked")
    hint = did_you_mean(name, [*more, *(agent.name for agent in known)])
    raise NotFound(f"there is no agent called '{name}'", hint or "meshctl agents list shows them")


def _nobody(selector: str, there: _There) -> NotFound:
    """What is said where a selector matches none; of the run before, why."""
    last, terms = there.last, _terms(selector)
    if last is not None and FAILED in terms and not last.failed:
        hint = "meshctl history show shows it again"
        return NotFound(f"nothing failed in the last saved run ({last.id})", hint)
    for term, who in ((FAILED, "failed"), (LAST, "took part")):
        if last is not None and term in terms and not there.of_last_run(term):
            gone = f"nobody who {who} in the last saved run ({last.id}) is there any more"
            return NotFound(gone, "meshctl agents list shows who is")
    return NotFound(f"no agent matches '{escape(selector, 80)}'", _nobody_hint(selector, there.known))


def _nobody_hint(selector: str, known: Sequence[AgentInfo]) -> str | None:
    if not known:
        return "no agent has joined yet: meshctl token create prints the line that joins a host"
    sites = sorted({agent.site for agent in known if agent.site})
    if found := re.search(r"site=([^,+]+)", selector):
        return did_you_mean(found[1], sites) or (f"known sites: {', '.join(sites[:12])}" if sites else None)
    return "meshctl agents list shows names, sites and labels"


def _spread(ordered: Sequence[AgentInfo], limit: int) -> list[str]:
    """One of each site in turn, connected agents before lost ones; then back in the order of ``ordered``."""
    sites: dict[str, list[AgentInfo]] = {}
    for agent in ordered:
        sites.setdefault(agent.site or "", []).append(agent)
    queues = [sorted(group, key=lambda a: a.state is not AgentState.CONNECTED) for group in sites.values()]
    turns = (agent for turn in zip_longest(*queues) for agent in turn if agent is not None)
    taken = {agent.name for agent, _ in zip(turns, range(limit), strict=False)}
    return [agent.name for agent in ordered if agent.name in taken]

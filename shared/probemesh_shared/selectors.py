"""SELECTOR: which vantage points take part. Pure; what exists is handed in.

``all``  ``self``  names and globs  ``site=GLOB``  ``KEY=GLOB`` of a label; ``+`` is AND and binds tighter
than ``,`` which is OR. ``all`` and globs mean agents that are not revoked; only ``self`` means this machine.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import zip_longest

from probemesh_shared.errors import InvalidRequest, NotFound
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo
from probemesh_shared.names import did_you_mean
from probemesh_shared.words import AgentState

SELF = "self"
_TERM = re.compile(r"[A-Za-z0-9.*?\[\]!_-]+\Z")
_GLOB = frozenset("*?[")


def select(
    selector: str,
    exclude: str | None,
    limit: int | None,
    agents: Sequence[AgentInfo],
    self_available: bool = True,
) -> tuple[str, ...]:
    """The names taken part, ``self`` first, agents by site and name.

    ``limit`` caps the agents (``self`` does not count), spread over sites in turn, the same way every time.
    Raises :class:`InvalidRequest` for what cannot be read, :class:`NotFound` for an agent that does not exist
    and where nothing is left.
    """
    check_selection(selector, exclude, limit)
    here = frozenset({SELF}) if self_available else frozenset[str]()
    known = [agent for agent in agents if agent.state is not AgentState.REVOKED]
    chosen = _evaluate(selector, known, agents, here)
    if not chosen:
        raise NotFound(f"no agent matches '{escape(selector, 80)}'", _nobody_hint(selector, known))
    if exclude is not None:
        chosen -= _evaluate(exclude, known, agents, here)
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
            raise InvalidRequest(f"{option} is empty", "names, globs, site=NAME, LABEL=VALUE, all, self")
        for term in re.split("[,+]", text):
            _check_term(term.strip(), text)
    if limit is not None and limit < 1:
        raise InvalidRequest(f"--limit {limit} leaves nobody", "give 1 or more")


def check_agent(name: str, agents: Sequence[AgentInfo]) -> None:
    """Raises :class:`NotFound` for a name that no agent bears, and for one that is revoked."""
    _by_name(name, [agent for agent in agents if agent.state is not AgentState.REVOKED], agents, ())


def _evaluate(
    selector: str, known: Sequence[AgentInfo], everyone: Sequence[AgentInfo], here: frozenset[str]
) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for clause in selector.split(","):
        terms = [_term(term.strip(), known, everyone, here) for term in clause.split("+")]
        found |= frozenset.intersection(*terms)
    return found


def _check_term(term: str, selector: str) -> None:
    if not term:
        raise InvalidRequest(
            f"the selector '{escape(selector, 80)}' has an empty part",
            "join parts by ',' (or) and '+' (and): site=berlin+role=db,tokyo-1",
        )
    if term in ("failed", "@last"):
        raise InvalidRequest(
            f"the selector '{term}' needs the history of earlier runs, which this version does not keep yet",
            "name the agents, or use site= and label= selectors",
        )
    key, equals, pattern = term.partition("=")
    if not _TERM.match(key) or (equals and not _TERM.match(pattern)):
        raise InvalidRequest(
            f"'{escape(term, 80)}' is no selector", "names, globs, site=NAME, LABEL=VALUE, all, self"
        )


def _term(
    term: str, known: Sequence[AgentInfo], everyone: Sequence[AgentInfo], here: frozenset[str]
) -> frozenset[str]:
    if term == SELF:
        return here
    if term == "all":
        return frozenset(agent.name for agent in known)
    key, equals, pattern = term.partition("=")
    if equals:
        return frozenset(agent.name for agent in known if _has(agent, key, pattern))
    if _GLOB & set(term):
        return frozenset(agent.name for agent in known if fnmatchcase(agent.name, term))
    return _by_name(term, known, everyone, (SELF,))


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

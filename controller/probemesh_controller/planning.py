"""From a request to who does what: which agents take part, with which job each, and what is said
beforehand. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo, HttpSpec, Measurement, Narrowing, Spec, Target
from probemesh_shared.session.frames import EXPECT, HTTP_WAYS, NARROWS
from probemesh_shared.words import AgentState, Outcome

from probemesh_controller.api import PlannedVantage, RunRequest
from probemesh_controller.candidates import address, unsupported

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
MAX_TARGETS = 4096
MAX_SPECS = 16
MAX_AGENTS = 10_000
MAX_DEADLINE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Part:
    """One agent's work for one spec. ``indices`` maps the job's target numbers to the run's; ``refused``
    are rows that stand in for targets this agent cannot probe."""

    agent_id: str
    agent: str
    spec_index: int
    targets: tuple[Target, ...]
    indices: tuple[int, ...]
    refused: tuple[Measurement, ...] = ()
    narrow: tuple[Narrowing, ...] = ()

    @property
    def unchanged(self) -> bool:
        """The job's target numbers are the run's."""
        return not self.refused


@dataclass(frozen=True, slots=True)
class Plan:
    vantages: tuple[PlannedVantage, ...]
    parts: tuple[Part, ...]

    @property
    def probing(self) -> int:
        """How many agents send anything."""
        return len({part.agent_id for part in self.parts if part.targets})


def check(request: RunRequest) -> None:
    """Raises InvalidRequest for what no run can be made of."""
    if not _RUN_ID.match(request.run_id):
        raise InvalidRequest("a run's id is 1 to 64 letters, digits, '-' and '_'")
    for name, count, most in (
        ("targets", len(request.targets), MAX_TARGETS),
        ("probe specs", len(request.specs), MAX_SPECS),
        ("agents", len(request.agents), MAX_AGENTS),
    ):
        if not 1 <= count <= most:
            raise InvalidRequest(f"a run takes 1 to {most} {name}, this one has {count}")
    if len(set(request.agents)) != len(request.agents):
        raise InvalidRequest("an agent is named twice")
    if not 0.05 <= request.deadline_s <= MAX_DEADLINE_S:
        raise InvalidRequest(f"the deadline must lie between 0.05 and {MAX_DEADLINE_S:g} s")


def plan(request: RunRequest, fleet: tuple[AgentInfo, ...], now_ns: int) -> Plan:
    """``fleet`` is everybody known; agents that cannot take part are told as such and get no job."""
    known = {agent.name: agent for agent in fleet}
    present = tuple(agent for agent in fleet if agent.state is not AgentState.REVOKED)
    vantages: list[PlannedVantage] = []
    parts: list[Part] = []
    for name in request.agents:
        vantage = _vantage(name, known, now_ns)
        vantages.append(vantage)
        if vantage.outcome is None:
            parts += _parts(request, known[name], present, now_ns)
    return Plan(tuple(vantages), tuple(parts))


def _vantage(name: str, known: Mapping[str, AgentInfo], now_ns: int) -> PlannedVantage:
    agent = known.get(name)
    if agent is None:
        return PlannedVantage(name, None, Outcome.UNMEASURED, f"there is no agent {escape(name, 80)}")
    if agent.state is AgentState.REVOKED:
        return PlannedVantage(name, agent.site, Outcome.UNMEASURED, "its certificate has been revoked")
    if agent.state is AgentState.LOST:
        return PlannedVantage(name, agent.site, Outcome.AGENT_LOST, _lost(agent, now_ns))
    return PlannedVantage(name, agent.site)


def _lost(agent: AgentInfo, now_ns: int) -> str:
    """Why it cannot be dialled, where we dial it; else since when it has been gone."""
    if agent.reason is None:
        return _since(agent.last_seen_ns, now_ns)
    if agent.last_seen_ns is None:
        return agent.reason
    return f"{_since(agent.last_seen_ns, now_ns)}: {agent.reason}"


def _since(last_seen_ns: int | None, now_ns: int) -> str:
    if last_seen_ns is None:
        return "it has never connected"
    seconds = max(0, now_ns - last_seen_ns) // 1_000_000_000
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"it is not connected, last seen {seconds // size} {unit} ago"
    return f"it is not connected, last seen {seconds} s ago"


def _parts(request: RunRequest, agent: AgentInfo, fleet: tuple[AgentInfo, ...], now_ns: int) -> list[Part]:
    parts = []
    for spec_index, spec in enumerate(request.specs):
        if (why := _too_old(spec, agent)) is not None:
            refused = unsupported(spec, request.targets, why, now_ns)
            parts.append(Part(agent.id, agent.name, spec_index, (), (), refused))
            continue
        ready = address(spec, request.targets, agent, fleet, now_ns)
        parts.append(
            Part(agent.id, agent.name, spec_index, ready.targets, ready.indices, ready.refused, agent.narrow)
        )
    return parts


def _too_old(spec: Spec, agent: AgentInfo) -> str | None:
    """It would measure, and never look at what is narrowed or expected; or go straight where another way was
    asked."""
    version = escape(agent.version or "an older version", 40)
    if agent.narrow and NARROWS not in agent.capabilities:
        return f"{agent.name} runs {version}, which does not keep to what the mesh narrows: upgrade it"
    if spec.options.expect and EXPECT not in agent.capabilities:
        return (
            f"{agent.name} runs {version}, which knows no expectations: upgrade it, or ask without --expect"
        )
    if isinstance(spec, HttpSpec) and _goes_a_way(spec) and HTTP_WAYS not in agent.capabilities:
        return f"{agent.name} runs {version}, which knows GET and HTTP/1.1 without a proxy: upgrade it"
    return None


def _goes_a_way(spec: HttpSpec) -> bool:
    plain = HttpSpec(spec.options, spec.method, spec.headers, spec.expect_status, spec.server_name)
    return spec != plain

"""Clauses against measurements, and what is broken as cells for the fewest causes. Pure."""

from collections.abc import Mapping, Sequence

from probemesh_shared.errors import InvalidRequest, NotFound
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo, Target, TargetResult, Vantage
from probemesh_shared.selectors import check_agent, select
from probemesh_shared.stats import of
from probemesh_shared.targets import parse_target
from probemesh_shared.words import NOT_MEASURED, Kind, Outcome

from probemesh_controller.collapse import Cell, End, Explanation, ProbeLabel, State, explain
from probemesh_controller.collapse.ends import end_of
from probemesh_controller.contracts.model import Aimed, Clause, Contract, Held, Pair, Word
from probemesh_controller.contracts.reading import agent_targets

#: Kinds of which one good row means: there was a connection, whatever failed above it.
_CONNECTS = frozenset({Kind.TCP, Kind.UDP, Kind.TLS, Kind.HTTP})
_NOT_SAID = frozenset({*NOT_MEASURED, Outcome.NAME_FAILS})


def aim(contract: Contract, agents: Sequence[AgentInfo], here: bool) -> tuple[Aimed, ...]:
    """Whom each clause means now. Raises NotFound and InvalidRequest, with file and line."""
    return tuple(_aim(contract.file, clause, agents, here) for clause in contract.clauses)


def _aim(file: str, clause: Clause, agents: Sequence[AgentInfo], here: bool) -> Aimed:
    place = file if clause.line is None else f"{file}:{clause.line}"
    try:
        sources = select(clause.from_, clause.exclude, None, agents, here)
        targets = list(clause.targets)
        for target in targets:
            if target.agent is not None:
                check_agent(target.agent, agents)
        if clause.to_agents is not None:
            for name in select(clause.to_agents, None, None, agents, False):
                targets += map(parse_target, agent_targets(name, clause.ports))
    except (NotFound, InvalidRequest) as error:
        raise type(error)(f"{place}: {escape(clause.name, 120)}: {error}", error.hint) from error
    return Aimed(clause, sources, tuple({target.text: target for target in targets}.values()))


def hold(aimed: Aimed, results: Mapping[str, TargetResult]) -> Held:
    """``results`` by the text of their targets; who is the target itself is left out."""
    pairs = [
        judge(aimed.clause, vantage, target)
        for target in aimed.targets
        for vantage in results[target.text].vantages
        if not vantage.is_target and vantage.agent != target.agent
    ]
    return Held(aimed, tuple(pairs))


def judge(clause: Clause, vantage: Vantage, target: Target) -> Pair:
    """What must connect has to be ``ok``. What must not has to fail by the network's doing: where nobody
    looked, or the name did not resolve, nothing is known."""
    met = connected(clause, vantage)
    if clause.must:
        silent = vantage.outcome in NOT_MEASURED
        good = vantage.outcome is Outcome.OK
    else:
        silent = vantage.outcome in _NOT_SAID and not met
        good = not met
    word = Word.UNMEASURED if silent else Word.KEPT if good else Word.BROKEN
    rows = [row for row in vantage.measurements if row.outcome is Outcome.OK and row.kind is not Kind.DNS]
    counts = [of(row.samples) for row in rows]
    rtts = [one.rtt.median_ms for one in counts if one.rtt is not None]
    losses = [one.loss_ratio for one in counts if one.loss_ratio is not None]
    return Pair(
        vantage.agent,
        target,
        word,
        vantage.outcome,
        vantage.failed_at,
        None if silent else met,
        _reason(vantage),
        max(rtts, default=None),
        max(losses, default=None),
    )


def connected(clause: Clause, vantage: Vantage) -> bool:
    """Whether it got through. Where answers are asked to be of a kind (``expect``): whether they are."""
    if vantage.outcome is Outcome.OK:
        return True
    if any(spec.options.expect for spec in clause.specs):
        return False
    wanted = _CONNECTS if clause.kind is None else frozenset({clause.kind})
    return any(row.kind in wanted and row.outcome is Outcome.OK for row in vantage.measurements)


def _reason(vantage: Vantage) -> str | None:
    if vantage.reason is not None:
        return vantage.reason
    for row in vantage.measurements:
        if row.failure is not None and row.outcome is vantage.outcome and row.failure.detail:
            return row.failure.detail
    return None


# --- causes ---


def causes(held: Sequence[Held], agents: Sequence[AgentInfo]) -> Explanation:
    """Of what must connect and does not."""
    ends = {agent.name: end_of(agent) for agent in agents}
    found: dict[tuple[str, str, ProbeLabel], Cell] = {}
    for one in held:
        if not one.aimed.clause.must:
            continue
        for pair in one.pairs:
            cell = _cell(one.aimed.clause, pair, ends)
            key = (cell.source.name, cell.target.name, cell.probe)
            if key not in found or _rank(cell) > _rank(found[key]):
                found[key] = cell
    return explain(found.values())


def _rank(cell: Cell) -> tuple[int, str]:
    """Of two accounts of one cell the failing one tells more, then the one that knows."""
    return (State.UNKNOWN, State.OK, State.FAILING).index(cell.state), cell.word


def _cell(clause: Clause, pair: Pair, ends: Mapping[str, End]) -> Cell:
    states = {Word.KEPT: State.OK, Word.BROKEN: State.FAILING, Word.UNMEASURED: State.UNKNOWN}
    target = pair.target
    there = End(target.host) if target.agent is None else ends.get(target.agent, End(target.agent))
    source = ends.get(pair.source, End(pair.source))
    state = states[pair.word]
    word = pair.outcome.value if state is State.FAILING else ""
    return Cell(source, there, probe_label(clause, target), state, word)


def probe_label(clause: Clause, target: Target) -> ProbeLabel:
    kind = clause.kind or target.kind or (Kind.TCP if target.ports else Kind.ICMP)
    port = target.ports[0].first if target.ports and kind is not Kind.ICMP else None
    family = clause.specs[0].options.family.value
    return ProbeLabel(kind.value, port, None if family == "both" else family)

"""What is different from one round to the next: how vantage points came out, never how fast. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probemesh_shared.model import TargetResult, Vantage
from probemesh_shared.outcomes import certificate_verified, rungs
from probemesh_shared.targets import count_ports
from probemesh_shared.words import Outcome

Key = tuple[str, str]  # target, agent
#: Ports of a list that are named in one line.
_MOST_PORTS = 6


@dataclass(frozen=True, slots=True)
class State:
    """``word`` is how it came out; ``ports`` of a list, each with its own."""

    word: str
    ports: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Change:
    target: str
    agent: str
    text: str


def states(results: Sequence[TargetResult], strict: bool = False) -> dict[Key, State]:
    return {
        (result.target.text, vantage.agent): State(_word(vantage, strict), _ports(result, vantage))
        for result in results
        for vantage in result.vantages
    }


def changes(before: Mapping[Key, State], after: Mapping[Key, State]) -> list[Change]:
    """In the order of ``after``; a vantage point that was not there before is no change."""
    return [
        Change(*key, _said(before[key], state))
        for key, state in after.items()
        if key in before and before[key] != state
    ]


def changes_text(found: Sequence[Change]) -> str:
    """``tokyo-1: ok → timeout (tcp)``, with the TARGET where there are several. Not yet escaped."""
    several = len({change.target for change in found}) > 1
    return "; ".join(
        f"{change.target} from {change.agent}: {change.text}" if several else f"{change.agent}: {change.text}"
        for change in found
    )


def _word(vantage: Vantage, strict: bool) -> str:
    if vantage.is_target:
        return "is the target"
    if vantage.outcome is Outcome.OK and certificate_verified(vantage) is False:
        return "certificate" if strict else "ok, certificate invalid"
    return f"{vantage.outcome} ({vantage.failed_at})" if vantage.failed_at else vantage.outcome.value


def _ports(result: TargetResult, vantage: Vantage) -> dict[int, str]:
    if count_ports(result.target.ports) < 2:
        return {}
    found: dict[int, str] = {}
    for rung in rungs(vantage.measurements):
        if rung.port is not None and found.get(rung.port, Outcome.OK) == Outcome.OK:
            found[rung.port] = rung.outcome.value
    return found


def _said(before: State, after: State) -> str:
    numbers = sorted(before.ports.keys() | after.ports.keys())
    moved = [number for number in numbers if before.ports.get(number) != after.ports.get(number)]
    if not moved:
        return f"{before.word} → {after.word}"
    said = [
        f"port {number} {before.ports.get(number, '–')} → {after.ports.get(number, '–')}"
        for number in moved[:_MOST_PORTS]
    ]
    return ", ".join(said) + (f" and {len(moved) - _MOST_PORTS} more" if len(moved) > _MOST_PORTS else "")

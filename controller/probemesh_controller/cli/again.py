"""``--watch`` and ``--until``: what was asked, checked, and how a round counts towards it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import TargetResult
from probemesh_shared.outcomes import reached, reached_any_port
from probemesh_shared.words import NOT_MEASURED

from probemesh_controller.cli.output import Format

EVERY_S, WITHIN_S = 5.0, 300.0
LONGEST_S = 7 * 86_400


class Until(StrEnum):
    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Again:
    """The options as typed; None where they were not given."""

    watch: bool = False
    until: str | None = None
    every: float | None = None
    rounds: int | None = None
    hold: int | None = None
    within: float | None = None


ONCE = Again()


@dataclass(frozen=True, slots=True)
class Plan:
    """``until`` None: a watch. A round begins ``every_s`` after the one before began, never before its end.
    ``rounds`` and ``within_s`` None: no end but an interrupt."""

    until: Until | None
    every_s: float
    rounds: int | None
    hold: int
    within_s: float | None


def plan_of(again: Again, output: Format, share: bool) -> Plan | None:
    """None where one run is all that is wanted. Raises :class:`InvalidRequest`."""
    _check_fit(again)
    if share and (again.watch or output not in (Format.TABLE, Format.WIDE)):
        raise InvalidRequest("--share is a text of its own", "leave --watch and -o out")
    if again.watch and output not in (Format.TABLE, Format.JSONL):
        raise InvalidRequest(
            f"-o {output} has an end, and --watch has none", "-o jsonl: an object a line for each round"
        )
    if not again.watch and again.until is None:
        return None
    return Plan(
        until=_until(again.until),
        every_s=_within("--every", again.every, 1, 86_400, EVERY_S),
        rounds=None if again.rounds is None else int(_within("--rounds", again.rounds, 1, 1_000_000, 1)),
        hold=int(_within("--for", again.hold, 1, 1000, 1)),
        within_s=None if again.watch else _within("--within", again.within, 1, LONGEST_S, WITHIN_S),
    )


def _check_fit(again: Again) -> None:
    if again.watch and again.until is not None:
        raise InvalidRequest("--watch and --until exclude each other", "--until ends by itself")
    for option, given, needs, present in (
        ("--every", again.every, "--watch or --until", again.watch or again.until is not None),
        ("--rounds", again.rounds, "--watch", again.watch),
        ("--for", again.hold, "--until", again.until is not None),
        ("--within", again.within, "--until", again.until is not None),
    ):
        if given is not None and not present:
            raise InvalidRequest(f"{option} belongs to {needs}", f"add {needs.split()[0]}")


def _until(text: str | None) -> Until | None:
    if text is None:
        return None
    if text not in tuple(Until):
        raise InvalidRequest(f"--until '{escape(text, 40)}' is not known", "reachable or unreachable")
    return Until(text)


def _within(name: str, value: float | None, low: float, high: float, default: float) -> float:
    if value is None:
        return default
    if not low <= value <= high:
        raise InvalidRequest(f"{name} {value:g} is out of range", f"{low:g} to {high:g}")
    return value


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one round, over vantage points and TARGETs: how many are as wished, were measured, were asked."""

    wished: int
    measured: int
    total: int

    @property
    def holds(self) -> bool:
        return 0 < self.total == self.wished

    @property
    def exit_code(self) -> int:
        """Where the wish did not come true in time: 4 nothing was measured, 1 nobody is as wished, 3 some."""
        if not self.measured:
            return 4
        return 3 if self.wished else 1


def tally(results: Sequence[TargetResult], until: Until, strict: bool = False) -> Tally:
    """What was not measured is neither reachable nor unreachable. A list of ports is reachable where all of
    them are, unreachable where none is."""
    asked = [vantage for result in results for vantage in result.vantages if not vantage.is_target]
    measured = [vantage for vantage in asked if vantage.outcome not in NOT_MEASURED]
    if until is Until.REACHABLE:
        wished = sum(reached(vantage, strict) for vantage in measured)
    else:
        wished = sum(not reached_any_port(vantage, strict) for vantage in measured)
    return Tally(wished, len(measured), len(asked))

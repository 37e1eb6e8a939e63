"""What is known of a saved run before its measurements are read: who, when, how it came out. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probemesh_shared.model import TargetResult, Vantage
from probemesh_shared.outcomes import reached, summarise
from probemesh_shared.words import NOT_MEASURED

#: How a vantage point came out over all TARGETs of a run; the first of these that any of them had.
FAILED, UNMEASURED, REACHED, IS_TARGET = "failed", "unmeasured", "reached", "is-target"
_ORDER = (FAILED, UNMEASURED, REACHED, IS_TARGET)


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a file. ``vantages``: name → one of the four words above. The counts are over
    vantage points and TARGETs, as the exit code has them. ``whole`` is false where the measurements were too
    many to be kept."""

    id: str
    saved_ns: int
    command: tuple[str, ...]
    targets: tuple[str, ...]
    vantages: Mapping[str, str]
    reached: int
    failed: int
    unmeasured: int
    total: int
    exit_code: int
    context: str | None = None
    version: str = ""
    strict: bool = False
    interrupted: bool = False
    rounds: int = 1
    whole: bool = True
    format: int = 1

    @property
    def failing(self) -> frozenset[str]:
        """Vantage points that measured and did not reach some TARGET."""
        return frozenset(name for name, word in self.vantages.items() if word == FAILED)


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a run besides its results. ``command`` is what was typed, without secrets."""

    run_id: str
    command: tuple[str, ...]
    saved_ns: int
    exit_code: int
    context: str | None = None
    version: str = ""
    strict: bool = False
    interrupted: bool = False
    rounds: int = 1


def header_of(run: Run, results: Sequence[TargetResult]) -> Header:
    """The header of a run. Its id is short: it is typed by people, and need only be unlike its neighbours."""
    vantages = [vantage for result in results for vantage in result.vantages]
    counts = summarise(vantages, run.strict)
    return Header(
        id=run.run_id[:8],
        saved_ns=run.saved_ns,
        command=run.command,
        targets=tuple(result.target.text for result in results),
        vantages=_words(vantages, run.strict),
        reached=counts.reached,
        failed=counts.failed,
        unmeasured=counts.unmeasured,
        total=counts.total,
        exit_code=run.exit_code,
        context=run.context,
        version=run.version,
        strict=run.strict,
        interrupted=run.interrupted,
        rounds=run.rounds,
    )


def _words(vantages: Sequence[Vantage], strict: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for vantage in vantages:
        word = _word(vantage, strict)
        found[vantage.agent] = min(word, found.get(vantage.agent, word), key=_ORDER.index)
    return found


def _word(vantage: Vantage, strict: bool) -> str:
    if vantage.is_target:
        return IS_TARGET
    if vantage.outcome in NOT_MEASURED:
        return UNMEASURED
    return REACHED if reached(vantage, strict) else FAILED

"""A contract as read, and what became of it. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from probemesh_shared.model import Spec, Target
from probemesh_shared.words import Kind, Outcome


class Word(StrEnum):
    """How a clause, or one pair of it, came out."""

    KEPT = "kept"
    BROKEN = "broken"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True)
class Clause:
    """``from_`` and ``to_agents`` are selectors, ``ports`` those of the agents meant by the latter. ``kind``
    None: the climb."""

    name: str
    must: bool
    from_: str
    exclude: str | None
    targets: tuple[Target, ...]
    to_agents: str | None
    ports: tuple[int, ...]
    kind: Kind | None
    specs: tuple[Spec, ...]
    line: int | None


@dataclass(frozen=True, slots=True)
class Contract:
    file: str
    clauses: tuple[Clause, ...]
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Aimed:
    """A clause with whom it means now."""

    clause: Clause
    sources: tuple[str, ...]
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """The evidence: who, to where, how it came out. ``connected`` None: not measured."""

    source: str
    target: Target
    word: Word
    outcome: Outcome
    failed_at: Kind | None = None
    connected: bool | None = None
    reason: str | None = None
    rtt_ms: float | None = None
    loss_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """One clause held against reality."""

    aimed: Aimed
    pairs: tuple[Pair, ...]

    @property
    def word(self) -> Word:
        """Broken by one pair; unmeasured where any pair is, or where there is none."""
        words = {pair.word for pair in self.pairs}
        if Word.BROKEN in words:
            return Word.BROKEN
        return Word.KEPT if words == {Word.KEPT} else Word.UNMEASURED

    def count(self, word: Word) -> int:
        return sum(pair.word is word for pair in self.pairs)


def exit_code(held: tuple[Held, ...], interrupted: bool = False) -> int:
    """DESIGN §6: 130 interrupted, 1 a clause is broken, 4 nothing was measured, 3 not everything was, 0."""
    words = {one.word for one in held}
    if interrupted:
        return 130
    if Word.BROKEN in words:
        return 1
    if not any(pair.word is not Word.UNMEASURED for one in held for pair in one.pairs):
        return 4
    return 3 if Word.UNMEASURED in words else 0

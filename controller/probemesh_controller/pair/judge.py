"""The judge: which causes the signs leave, and which of them is proven. Pure.

No scores and no order: a cause is out when a known sign is not as it predicts; the answer is what
is left. Where that is nothing some sign is wrong, or the matter is none that is known here: then nothing is
concluded, and what is told is which causes have the least against them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from probemesh_shared.words import Confidence, Transport, Verdict

from probemesh_controller.pair.causes import FLOW, Cause
from probemesh_controller.pair.flow.names import FIRM
from probemesh_controller.pair.signs import Sign, Signs

_SUREST = tuple(Confidence)


@dataclass(frozen=True, slots=True)
class Excluded:
    """``by`` are the signs that are not as ``cause`` predicts."""

    cause: Cause
    by: tuple[Sign, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer to one question. ``left`` and ``excluded`` are sorted by key. ``strained``: no cause fits
    all that is known, and ``left`` are those that come nearest."""

    question: str
    left: tuple[Cause, ...]
    excluded: tuple[Excluded, ...] = ()
    proven: tuple[Cause, ...] = ()
    strained: bool = False

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of those that are left, each once, in the order of the vocabulary."""
        left = {cause.verdict for cause in self.left}
        return tuple(verdict for verdict in Verdict if verdict in left)

    @property
    def verdict(self) -> Verdict:
        """The one that is left; ``undetermined`` where it is none or several."""
        verdicts = self.verdicts
        return verdicts[0] if len(verdicts) == 1 and not self.strained else Verdict.UNDETERMINED

    @property
    def alternatives(self) -> tuple[Verdict, ...]:
        """All that it may be, where that is more than one."""
        verdicts = self.verdicts
        like = {also for cause in self.left for also in cause.like}
        if self.strained or len(verdicts) > 1 or like - set(verdicts):
            return (*verdicts, *(verdict for verdict in Verdict if verdict in like - set(verdicts)))
        return ()

    @property
    def confidence(self) -> Confidence:
        if self.verdict is Verdict.UNDETERMINED:
            return Confidence.POSSIBLE
        most = min((cause.at_most for cause in self.proven or self.left), key=_SUREST.index)
        return most if self.proven else max(most, Confidence.LIKELY, key=_SUREST.index)

    @property
    def settled(self) -> bool:
        return self.confidence is Confidence.CERTAIN

    def open_signs(self, signs: Signs) -> frozenset[str]:
        """Unknown signs whose knowledge would change the answer: those on which the causes left differ in
        verdict, and those that would prove the one that is left."""
        if self.settled:
            return frozenset()
        names = {name for cause in self.left for name in cause.predicts if signs.holds(name) is None}
        if len(self.verdicts) == 1:
            wanted = {name for cause in self.left for proof in cause.proof for name in proof}
            return frozenset(names & wanted)
        return frozenset(name for name in names if _divides(name, self.left))


def _divides(name: str, causes: tuple[Cause, ...]) -> bool:
    """One of the two answers would leave other verdicts than there are now."""
    now = {cause.verdict for cause in causes}
    return any(
        {cause.verdict for cause in causes if cause.predicts.get(name, answer) is answer} != now
        for answer in (True, False)
    )


def judge(causes: Iterable[Cause], signs: Signs, transport: Transport) -> dict[str, Judgement]:
    """One judgement for each question that comes into question."""
    asked: dict[str, list[Cause]] = {}
    for cause in sorted(causes, key=lambda one: one.key):
        if transport in cause.transports and all(signs.holds(k) is v for k, v in cause.when.items()):
            asked.setdefault(cause.question, []).append(cause)
    return {question: _judged(question, rows, signs) for question, rows in sorted(asked.items())}


def _judged(question: str, causes: list[Cause], signs: Signs) -> Judgement:
    excluded = tuple(Excluded(cause, by) for cause in causes if (by := contradictions(cause, signs)))
    out = {one.cause.key for one in excluded}
    left = tuple(cause for cause in causes if cause.key not in out)
    if not left and question == FLOW:
        return Judgement(question, _nearest(excluded), excluded, strained=True)
    return Judgement(question, left, excluded, tuple(cause for cause in left if is_proven(cause, signs)))


def _nearest(excluded: tuple[Excluded, ...]) -> tuple[Cause, ...]:
    """Those that the fewest signs contradict, what the prober itself saw being in no doubt."""
    fitting = [one for one in excluded if not any(sign.name in FIRM for sign in one.by)] or list(excluded)
    least = min(len(one.by) for one in fitting)
    return tuple(one.cause for one in fitting if len(one.by) == least)


def contradictions(cause: Cause, signs: Signs) -> tuple[Sign, ...]:
    """Known signs that are not as the cause predicts."""
    found = (signs[name] for name, expected in cause.predicts.items() if signs.holds(name) is (not expected))
    return tuple(sorted(found, key=lambda sign: sign.name))


def is_proven(cause: Cause, signs: Signs) -> bool:
    return any(
        all(signs.holds(name) is cause.predicts[name] for name in proof) for proof in cause.proof if proof
    )

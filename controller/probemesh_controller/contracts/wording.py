"""A contract's result in words, and as JSON. Pure."""

from collections.abc import Sequence

from probemesh_shared.escape import escape
from probemesh_shared.jsoncontract import CheckJson, ClauseJson, PairJson
from probemesh_shared.words import Outcome

from probemesh_controller.collapse import Explanation
from probemesh_controller.collapse.wording import causes_to_json, sentence
from probemesh_controller.contracts.model import Held, Pair, Word
from probemesh_controller.render.text import counted, paint

_MARKS = {Word.KEPT: ("✓", "good"), Word.BROKEN: ("✗", "bad"), Word.UNMEASURED: ("?", "dim")}
#: So many pairs of a clause are shown in the table.
MOST_SHOWN = 12


def clause_text(held: Held) -> str:
    """``broken: 2 of 6 pairs; 1 unmeasured``."""
    word, total = held.word, len(held.pairs)
    if not total:
        return "unmeasured: there is nobody to ask but the target itself"
    text = f"{word.value}: {held.count(word)} of {counted(total, 'pair')}"
    silent = held.count(Word.UNMEASURED)
    return f"{text}; {silent} unmeasured" if silent and word is not Word.UNMEASURED else text


def pair_text(pair: Pair) -> str:
    """``tokyo-1 → db:5432: timeout at tcp (no answer within 3 s)``."""
    if pair.word is Word.BROKEN and pair.outcome is Outcome.OK:
        said = "connects"
    else:
        at = "" if pair.failed_at is None else f" at {pair.failed_at}"
        said = f"{pair.outcome}{at}" + (f" ({escape(pair.reason, 200)})" if pair.reason else "")
        if pair.word is Word.BROKEN and pair.connected:
            said = f"connects, then {said}"
    return f"{escape(pair.source, 80)} → {escape(pair.target.text, 200)}: {said}"


def render(held: Sequence[Held], found: Explanation, color: bool) -> str:
    lines: list[str] = []
    for one in held:
        mark, style = _MARKS[one.word]
        clause = one.aimed.clause
        what = "must" if clause.must else "must not"
        lines.append(f"{paint(mark, style, color)} {what}  {escape(clause.name, 120)}  {clause_text(one)}")
        telling = [pair for pair in one.pairs if pair.word is not Word.KEPT]
        lines += [f"    {pair_text(pair)}" for pair in telling[:MOST_SHOWN]]
        if len(telling) > MOST_SHOWN:
            lines.append(f"    … and {len(telling) - MOST_SHOWN} more: -o json")
    if found.causes:
        lines += ["", "What must connect and does not comes down to:"]
        lines += [f"  {sentence(cause)}" for cause in found.causes]
    words = [one.word for one in held]
    summary = ", ".join(f"{words.count(word)} {word.value}" for word in Word)
    return "\n".join([*lines, "", f"{counted(len(held), 'clause')}: {summary}", ""])


def check_to_json(file: str, held: Sequence[Held], found: Explanation, interrupted: bool) -> CheckJson:
    words = [one.word for one in held]
    return {
        "schema": 1,
        "contract": file,
        "clauses": [_clause(one) for one in held],
        "explanation": causes_to_json(found),
        "summary": {
            "kept": words.count(Word.KEPT),
            "broken": words.count(Word.BROKEN),
            "unmeasured": words.count(Word.UNMEASURED),
            "total": len(words),
        },
        "interrupted": interrupted,
    }


def _clause(held: Held) -> ClauseJson:
    clause = held.aimed.clause
    return {
        "name": clause.name,
        "line": clause.line,
        "must": clause.must,
        "result": held.word.value,
        "pairs": [_pair(pair) for pair in held.pairs],
    }


def _pair(pair: Pair) -> PairJson:
    return {
        "agent": pair.source,
        "target": pair.target.text,
        "result": pair.word.value,
        "outcome": pair.outcome,
        "failed_at": pair.failed_at,
        "connected": pair.connected,
        "reason": pair.reason,
        "rtt_ms": pair.rtt_ms,
        "loss_ratio": pair.loss_ratio,
    }

"""Today's reality as a contract. Pure."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence

from probemesh_shared.words import Outcome

from probemesh_controller.contracts.model import Held, Pair, Word
from probemesh_controller.contracts.wording import pair_text

#: A bound is so many times what was seen, and so many ms more: what is usual must not break it.
MARGIN, MARGIN_MS = 3, 20


def write(held: Held) -> str:
    """TOML: who connects must, who was kept from it must not; what is neither stands in a comment. The clause
    that was asked says must, of everybody to everything."""
    by_target: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in held.pairs:
        by_target[pair.target.text].append(pair)
    parts = [
        "# What was so when meshctl check --learn wrote it. Held against reality by: meshctl check FILE\n"
    ]
    for target, pairs in by_target.items():
        good = [pair for pair in pairs if pair.word is Word.KEPT]
        kept_out = list(filter(_kept_out, pairs))
        other = [pair for pair in pairs if pair not in good and pair not in kept_out]
        if good:
            parts.append(_must(target, good))
        if kept_out:
            parts.append(_clause("must_not", f"{target} is kept from", target, kept_out))
        parts += [f"# not declared: {_comment(pair_text(pair))}\n" for pair in other]
    return "\n".join(parts)


def declares(held: Held) -> bool:
    """Whether anything was measured that a contract can say."""
    return any(pair.word is Word.KEPT or _kept_out(pair) for pair in held.pairs)


def _kept_out(pair: Pair) -> bool:
    """By the network: a name that did not resolve says nothing of it."""
    return pair.word is Word.BROKEN and not pair.connected and pair.outcome is not Outcome.NAME_FAILS


def _must(target: str, pairs: Sequence[Pair]) -> str:
    text = _clause("must", f"{target} is reached", target, pairs)
    seen = [pair.rtt_ms for pair in pairs if pair.rtt_ms is not None]
    if len(seen) < len(pairs):
        return text
    return f'{text}rtt_max = "{math.ceil(max(seen) * MARGIN + MARGIN_MS)}ms"\n'


def _clause(word: str, name: str, target: str, pairs: Sequence[Pair]) -> str:
    sources = ",".join(pair.source for pair in pairs)
    return f"[[{word}]]\nname = {_quoted(name)}\nfrom = {_quoted(sources)}\nto = {_quoted(target)}\n"


def _quoted(text: str) -> str:
    """A basic string of TOML: JSON's escapes are among its own, and DEL must be escaped too."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)

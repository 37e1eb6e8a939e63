"""A contract's result as JUnit XML, as CI systems read it. Pure."""

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape as xml_text
from xml.sax.saxutils import quoteattr

from probemesh_controller.contracts.model import Held, Pair, Word
from probemesh_controller.contracts.wording import clause_text, pair_text

#: What XML 1.0 has no way to write.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(file: str, held: Sequence[Held], causes: Sequence[str]) -> str:
    """One testsuite a contract, one testcase a clause: failure where broken, skipped where unmeasured."""
    broken = sum(one.word is Word.BROKEN for one in held)
    skipped = sum(one.word is Word.UNMEASURED for one in held)
    counts = f'tests="{len(held)}" failures="{broken}" errors="0" skipped="{skipped}"'
    suite = f"<testsuite name={_attribute(file)} {counts}>"
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f"<testsuites {counts}>", suite]
    for one in held:
        lines += _case(file, one)
    if causes:
        lines.append(f"<system-out>{_text(chr(10).join(causes))}</system-out>")
    return "\n".join([*lines, "</testsuite>", "</testsuites>", ""])


def _case(file: str, held: Held) -> list[str]:
    clause = held.aimed.clause
    head = f"<testcase classname={_attribute(file)} name={_attribute(clause.name)}"
    if held.word is Word.KEPT:
        return [f"{head}/>"]
    message = _attribute(clause_text(held))
    shown = [pair for pair in held.pairs if pair.word is held.word]
    if held.word is Word.UNMEASURED:
        return [f"{head}>", f"<skipped message={message}>{_pairs(shown)}</skipped>", "</testcase>"]
    return [f"{head}>", f'<failure type="broken" message={message}>{_pairs(shown)}</failure>', "</testcase>"]


def _pairs(pairs: Sequence[Pair]) -> str:
    return _text("\n".join(map(pair_text, pairs)))


def _clean(text: str) -> str:
    """A control character becomes visible: ``\\x1b``."""
    return _FORBIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _text(text: str) -> str:
    return xml_text(_clean(text))


def _attribute(text: str) -> str:
    return quoteattr(_clean(text))

"""Findings as people read them: the sentence, what speaks for and against it, what it does not exclude."""

from collections.abc import Sequence

from probemesh_shared.model import Finding

from probemesh_controller.render.text import paint, wrap

_INDENT = "    "
#: Pieces of evidence shown for, and as many against.
MOST = 5


def findings_lines(findings: Sequence[Finding], width: int, color: bool = False) -> list[str]:
    lines: list[str] = []
    for finding in findings:
        if lines:
            lines.append("")
        lines += _finding(finding, width, color)
    return lines


def _finding(finding: Finding, width: int, color: bool) -> list[str]:
    lines = [paint(f"▲ {finding.verdict}", "warn", color) + f" ({finding.confidence})"]
    lines += wrap(finding.summary, width, "  ")
    lines += _evidence(finding, width)
    if finding.alternatives:
        lines += _hanging("not excluded: ", ", ".join(finding.alternatives), width)
    if finding.next_test:
        lines += _hanging("next: ", finding.next_test, width)
    return lines


def _evidence(finding: Finding, width: int) -> list[str]:
    lines: list[str] = []
    for sign, supports in (("+ ", True), ("- ", False)):
        mine = [evidence for evidence in finding.evidence if evidence.supports is supports]
        for evidence in mine[:MOST]:
            lines += _hanging(sign, evidence.text, width)
        if len(mine) > MOST:
            lines.append(f"{_INDENT}{sign}… {len(mine) - MOST} more like these; -o json has them all")
    return lines


def _hanging(head: str, text: str, width: int) -> list[str]:
    wrapped = wrap(text, width, _INDENT + " " * len(head))
    return [_INDENT + head + wrapped[0].lstrip(" "), *wrapped[1:]] if wrapped else []

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
    lines += evidence_lines(finding, width)
    if finding.alternatives:
        lines += hanging("not excluded: ", ", ".join(finding.alternatives), width)
    if finding.next_test:
        lines += hanging("next: ", finding.next_test, width)
    return lines


def evidence_lines(finding: Finding, width: int, most: int | None = MOST) -> list[str]:
    """What speaks for it and what against; at most ``most`` of each, None: all."""
    lines: list[str] = []
    for sign, supports in (("+ ", True), ("- ", False)):
        mine = [evidence for evidence in finding.evidence if evidence.supports is supports]
        shown = mine if most is None else mine[:most]
        for evidence in shown:
            lines += hanging(sign, evidence.text, width)
        if len(mine) > len(shown):
            lines.append(f"{_INDENT}{sign}… {len(mine) - len(shown)} more like these; -o json has them all")
    return lines


def hanging(head: str, text: str, width: int) -> list[str]:
    """Wrapped behind ``head``, which is ours and not escaped; below it, where it leaves little room."""
    if len(head) > width // 3:
        return [*wrap(head.rstrip(), width, _INDENT), *wrap(text, width, 2 * _INDENT)]
    wrapped = wrap(text, width, _INDENT + " " * len(head))
    return [_INDENT + head + wrapped[0].lstrip(" "), *wrapped[1:]] if wrapped else []

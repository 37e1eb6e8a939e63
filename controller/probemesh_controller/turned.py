"""``--expect-fail``: what must not be reached, turned round where a vantage point has had its say. Pure.

Measurements stay as they were: only what they amount to changes. Who reached the target has failed; who was
kept from it by the network, its name service or the target itself is ``ok``, and says how; who could not look
has still not looked.
"""

from dataclasses import replace

from probemesh_shared.model import Finding, Target, Vantage
from probemesh_shared.outcomes import reached_any_port, rung_order, rungs
from probemesh_shared.words import NOT_MEASURED, Kind, Outcome, Verdict

#: Findings that stay: what kept us from looking. The others explain why somebody fails, which was asked for.
_STAY = frozenset({Verdict.AGENT_LOST, Verdict.NOT_ADDRESSABLE, Verdict.VANTAGE_IMPAIRED})


def turned(vantage: Vantage, target: Target, strict: bool = False) -> Vantage:
    """The account as ``--expect-fail`` reads it. With ``strict`` a certificate that does not verify keeps
    from the target too."""
    vantage = replace(vantage, expect_fail=True)
    told = replace(vantage, expect_fail=False)
    if vantage.is_target:
        return vantage
    if reached_any_port(told, strict):
        return _reached(vantage)
    if vantage.outcome in NOT_MEASURED:
        return vantage
    if vantage.outcome is Outcome.OK:  # strict
        return replace(vantage, reason="as expected: its certificate does not verify")
    if missing := _unmeasured_ports(vantage, target):
        return replace(
            vantage, outcome=Outcome.UNMEASURED, failed_at=None, reason=f"{missing} of its ports not measured"
        )
    return replace(vantage, outcome=Outcome.OK, failed_at=None, reason=f"as expected: {_how(vantage)}")


def kept(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings that are worth a word where failing is what was wanted."""
    return tuple(finding for finding in findings if finding.verdict in _STAY)


def _reached(vantage: Vantage) -> Vantage:
    held = [row.kind for row in vantage.measurements if row.outcome is Outcome.OK]
    ports = sorted({row.port for row in vantage.measurements if row.port and row.outcome is Outcome.OK})
    several = len({row.port for row in vantage.measurements if row.port and row.kind is not Kind.DNS}) > 1
    where = f" on port {', '.join(map(str, ports[:8]))}{', …' if len(ports) > 8 else ''}" if several else ""
    return replace(
        vantage,
        outcome=Outcome.ANSWER_UNEXPECTED,
        failed_at=max(held, key=rung_order, default=None),
        reason=f"reached{where}, though it must not be",
    )


def _unmeasured_ports(vantage: Vantage, target: Target) -> int:
    """A list of ports is closed only where every one of them was looked at."""
    asked = {port for span in target.ports for port in range(span.first, span.last + 1)}
    if len(asked) < 2:
        return 0
    looked = {s.port for s in rungs(vantage.measurements) if s.outcome not in NOT_MEASURED and s.port}
    nothing_below = any(
        state.outcome is not Outcome.OK and state.port is None and state.kind is Kind.DNS
        for state in rungs(vantage.measurements)
    )
    return 0 if nothing_below else len(asked - looked)


def _how(vantage: Vantage) -> str:
    """The word, and the words of the failure that stands for it."""
    rows = [row for row in vantage.measurements if row.kind is vantage.failed_at and row.failure is not None]
    exact = [row for row in rows if row.outcome is vantage.outcome] or rows
    detail = exact[0].failure.detail if exact and exact[0].failure is not None else None
    return f"{vantage.outcome}, {detail}" if detail else str(vantage.outcome)

"""The steps of a diagnosis, one a line: who sent what to whom, why, and what came of it. Pure."""

from collections import Counter

from probemesh_shared.model import (
    FlowDetail,
    Measurement,
    MtuDetail,
    TlsDetail,
    TraceDetail,
)

from probemesh_controller.pair.case import Case, StepDone
from probemesh_controller.render.text import Cell, columns, counted


def steps_lines(case: Case, width: int, color: bool) -> list[str]:
    rows = [
        [
            Cell(done.step.id),
            Cell(str(number), right=True),
            Cell(f"{done.step.sender} → {done.step.to or done.step.address}"),
            Cell(done.step.purpose),
            Cell(_outcome(done)),
            Cell(done.step.why, "dim"),
        ]
        for number, one in enumerate(case.rounds, 1)
        for done in one.steps
    ]
    if not rows:
        return []
    return ["What was done", *columns(["STEP", "ROUND", "WHO", "WHAT", "CAME TO", "WHY"], rows, width, color)]


def _outcome(done: StepDone) -> str:
    if done.problem is not None and not done.rows:
        return f"not done: {done.problem}"
    return "; ".join(_row(row) for row in done.rows) or "nothing"


def _row(row: Measurement) -> str:
    match row.detail:
        case FlowDetail(shots=shots):
            counts = Counter(str(shot.outcome) for shot in shots)
            return ", ".join(f"{number} {word}" for word, number in counts.most_common())
        case TraceDetail(reached=True, distance=distance):
            return f"reached at hop {distance}"
        case TraceDetail(hops=hops):
            answered = [hop.hop for hop in hops if hop.answers]
            return f"last answer from hop {answered[-1]}" if answered else "no hop answered"
        case MtuDetail(mtu=mtu):
            return f"up to {counted(mtu, 'byte')}" if mtu is not None else "no size found"
        case TlsDetail(version=version) if version is not None:
            return version
    return row.failure.detail if row.failure is not None and row.failure.detail else str(row.outcome)

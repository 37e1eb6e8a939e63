"""The servers of a zone side by side, where ``--all-servers`` asked them: serials, answers, who is lame."""

from collections.abc import Iterator

from probemesh_shared.model import DnsDetail, Measurement, TargetResult
from probemesh_shared.words import NOT_MEASURED, Kind, Outcome

from probemesh_controller.render.text import Cell, clip, columns

_HEADER = ["FROM", "SERVER", "ADDRESS", "SERIAL", "ANSWER"]
_ANSWER_WIDTH = 60


def zone_lines(result: TargetResult, width: int, color: bool = False) -> list[str]:
    """A row for each server's address and vantage point; none where no zone was compared."""
    rows = [_cells(agent, row) for agent, row in _rows(result)]
    return columns(_HEADER, rows, width, color) if rows else []


def _rows(result: TargetResult) -> Iterator[tuple[str, Measurement]]:
    for vantage in result.vantages:
        asked = [row for row in vantage.measurements if row.kind is Kind.DNS]
        if any(isinstance(row.detail, DnsDetail) and row.detail.zone for row in asked):
            for row in sorted(asked, key=_order):
                yield vantage.agent, row


def _order(row: Measurement) -> tuple[bool, str, str]:
    """What could not be asked stands last."""
    name = row.detail.server_name if isinstance(row.detail, DnsDetail) else None
    return name is None, name or "", row.address or ""


def _cells(agent: str, row: Measurement) -> list[Cell]:
    detail = row.detail if isinstance(row.detail, DnsDetail) else DnsDetail()
    serial = Cell("–" if detail.serial is None else str(detail.serial), right=True)
    return [
        Cell(agent),
        Cell(detail.server_name or "–"),
        Cell(row.address or "–"),
        serial,
        _answer(row, detail),
    ]


def _answer(row: Measurement, detail: DnsDetail) -> Cell:
    if row.outcome is Outcome.OK:
        return Cell(clip(", ".join(sorted(record.value for record in detail.answers)), _ANSWER_WIDTH))
    why = row.failure.detail if row.failure is not None else row.outcome
    why = why.removeprefix(f"{detail.name}: ")
    return Cell(why, "warn" if row.outcome in NOT_MEASURED else "bad")

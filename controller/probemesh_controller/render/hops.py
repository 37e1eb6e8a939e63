"""A trace, hop by hop: alone, and two directions side by side. Pure."""

from collections.abc import Iterator, Sequence

from probemesh_shared.escape import escape
from probemesh_shared.hopview import HopView, Mark, hop_views
from probemesh_shared.model import Measurement, MtuDetail, TargetResult, TraceDetail
from probemesh_shared.words import Kind, Transport

from probemesh_controller.render.text import Cell, clip, columns, counted, ms_text, paint

#: Traces that are shown in full under a table; the others are in the JSON.
MOST = 6
SILENT_NOTE = (
    "A silent hop (*) proves nothing: many routers never answer, and pass everything on all the same."
)
_BAD = frozenset({Mark.REFUSES, Mark.LOOP, Mark.STAND_IN})
_ODD = frozenset({Mark.REWRITTEN, Mark.DESTINATION_NAT, Mark.MSS_CHANGED, Mark.MTU})
HEADER = ["HOP", "ADDRESS", "LOSS", "BEST", "MEDIAN", "WORST", "NOTE"]


def trace_lines(result: TargetResult, width: int, color: bool, followed: bool = False) -> list[str]:
    """What ``--kind trace`` saw, under the table of a probe; with ``followed`` also what was traced after a
    failure."""
    found = [
        (vantage.agent, row)
        for vantage in result.vantages
        for row in traced((*vantage.measurements, *(vantage.followed if followed else ())))
    ]
    lines: list[str] = []
    for agent, row in found[:MOST]:
        head = paint(escape(f"from {agent} to {where(row)}: {course_text(row)}", 400), "bold", color)
        lines += ["", head] if lines else [head]
        lines += table(row, width, color)
    if len(found) > MOST:
        lines += ["", f"and {len(found) - MOST} more traces, see -o json"]
    if any(Mark.SILENT in view.marks for _, row in found[:MOST] for view in views_of(row)):
        lines += ["", SILENT_NOTE]
    return lines


def traced(rows: Sequence[Measurement]) -> Iterator[Measurement]:
    """Rows of traces that sent something."""
    yield from (row for row in rows if row.kind is Kind.TRACE and isinstance(row.detail, TraceDetail))


def views_of(row: Measurement) -> tuple[HopView, ...]:
    return hop_views(row.detail, row.address) if isinstance(row.detail, TraceDetail) else ()


def table(row: Measurement, width: int, color: bool) -> list[str]:
    """Hop by hop, as mtr has it."""
    views = views_of(row)
    if not views:
        return [f"  {escape(row.failure.detail if row.failure else 'nothing was sent', 300)}"]
    return [f"  {line}" for line in columns(HEADER, [cells(view) for view in views], width - 2, color)]


def cells(view: HopView) -> list[Cell]:
    silent = Mark.SILENT in view.marks
    style = "dim" if silent else "good" if Mark.TARGET in view.marks else ""
    return [
        Cell(str(view.hop), right=True),
        Cell(address_text(view), style),
        Cell(loss_text(view), "warn" if view.lost and not silent else "dim", right=True),
        *(Cell(ms_text(time), right=True) for time in (view.best_ms, view.median_ms, view.worst_ms)),
        Cell(note_text(view), note_style(view)),
    ]


def address_text(view: HopView) -> str:
    if not view.addresses:
        return "*"
    more = f" +{len(view.addresses) - 1}" if len(view.addresses) > 1 else ""
    return f"{view.addresses[0]}{more}"


def loss_text(view: HopView) -> str:
    ratio = view.loss_ratio
    return "" if ratio is None else f"{ratio:.0%}"


def note_text(view: HopView) -> str:
    return view.note or ("the target" if Mark.TARGET in view.marks else "")


def note_style(view: HopView) -> str:
    marks = frozenset(view.marks)
    return "bad" if marks & _BAD else "warn" if marks & _ODD else "dim"


def where(row: Measurement) -> str:
    """The address that was traced, with the port where it was TCP or UDP."""
    if row.address is None:
        return row.target
    detail = row.detail
    ported = isinstance(detail, TraceDetail) and detail.transport is not Transport.ICMP
    if row.port is None or not ported:
        return row.address
    return f"[{row.address}]:{row.port}" if ":" in row.address else f"{row.address}:{row.port}"


def course_text(row: Measurement) -> str:
    """``by tcp, reached in 4 hops``; else why not."""
    detail = row.detail
    if not isinstance(detail, TraceDetail):
        return row.failure.detail if row.failure is not None else row.outcome
    by = f"by {detail.transport}"
    if detail.stand_in is not None:
        return f"{by}, something answers in its place at hop {detail.distance}"
    if detail.reached:
        far = "" if detail.distance is None else f" in {counted(detail.distance, 'hop')}"
        return f"{by}, reached{far}"
    return f"{by}, {row.failure.detail if row.failure else 'not reached'}"


def short_text(detail: TraceDetail) -> str:
    """For one cell."""
    if detail.stand_in is not None:
        return f"stand-in at hop {detail.distance}"
    return "far" if detail.distance is None else counted(detail.distance, "hop")


def mtu_text(detail: MtuDetail) -> str:
    """``1400 bytes (black hole)``, for one cell."""
    if detail.mtu is None:
        return ""
    odd = "black hole" if detail.black_hole else f"told by {detail.told_by}" if detail.told_by else ""
    if detail.fragments_pass is False:
        odd = f"{odd}, no fragments" if odd else "no fragments"
    return f"{detail.mtu} bytes ({clip(odd, 60)})" if odd else f"{detail.mtu} bytes"

"""What ``meshctl trace`` shows: one direction hop by hop, or both side by side. Pure."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared.escape import csv_text, escape
from probemesh_shared.hopview import HopView, Mark
from probemesh_shared.jsonout import ParseCertificate, vantage_to_json
from probemesh_shared.jsonshape import JoinedJson, JoinedStationJson, TraceJson
from probemesh_shared.model import Measurement, TraceDetail, Vantage
from probemesh_shared.moments import time_text
from probemesh_shared.words import Transport

from probemesh_controller.render import hops
from probemesh_controller.render.text import Cell, columns, ms_text, paint
from probemesh_controller.tracejoin import Joined, Station, join

_BOTH = ["", "THERE", "LOSS", "BEST", "BACK", "LOSS", "BEST", "NOTE"]
_CSV = (
    "direction",
    "from",
    "target",
    "address",
    "hop",
    "addresses",
    "sent",
    "lost",
    "best_ms",
    "median_ms",
    "worst_ms",
    "marks",
    "note",
)


@dataclass(frozen=True, slots=True)
class Traced:
    """``reverse`` None: only one direction was asked for, or can be."""

    source: str
    target: str
    transport: Transport
    port: int | None
    started_ns: int
    forward: Vantage
    reverse: Vantage | None = None

    @property
    def joined(self) -> tuple[Joined, ...]:
        return join(self.forward.measurements, self.reverse.measurements) if self.reverse else ()


def render(traced: Traced, width: int, color: bool, wide: bool) -> str:
    """``wide`` shows each direction in full also where they stand side by side."""
    joined = [one for one in traced.joined if one.stations]
    shown = {id(row) for one in joined for row in (one.forward, one.reverse)} if not wide else set()
    lines: list[str] = []
    for one in joined:
        lines += _with_gap(lines, _side_by_side(traced, one, width, color))
    for agent, to, vantage in _directions(traced):
        if not vantage.measurements:
            head = f"from {agent} to {to}: {vantage.reason or vantage.outcome}"
            lines += _with_gap(lines, [paint(escape(head, 400), "warn", color)])
        for row in vantage.measurements:
            if id(row) not in shown:
                lines += _with_gap(lines, _alone(agent, row, width, color))
    for one in traced.joined:
        if not one.stations:
            lines += ["", escape(f"{one.family}: {one.text}", 300)]
    if any(Mark.SILENT in view.marks for _, _, v in _directions(traced) for view in _all_views(v)):
        lines += ["", hops.SILENT_NOTE]
    return "\n".join(lines) + "\n"


def to_json(traced: Traced, parse: ParseCertificate) -> TraceJson:
    return {
        "schema": 1,
        "from": traced.source,
        "to": traced.target,
        "transport": traced.transport,
        "port": traced.port,
        "started_at": time_text(traced.started_ns),
        "forward": vantage_to_json(traced.forward, parse),
        "reverse": None if traced.reverse is None else vantage_to_json(traced.reverse, parse),
        "joined": [_joined_json(one) for one in traced.joined],
    }


def to_csv(traced: Traced) -> str:
    """A row a hop, RFC 4180, both directions; no cell is a formula or holds a control."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV)
    names = ("forward", "reverse")
    for name, (agent, _, vantage) in zip(names, _directions(traced), strict=False):
        for row in vantage.measurements:
            for view in hops.views_of(row):
                writer.writerow([_csv_cell(value) for value in (name, agent, *_csv_row(row, view))])
    return out.getvalue()


# --- on a terminal ------------------------------------------------------------------------------------


def _directions(traced: Traced) -> list[tuple[str, str, Vantage]]:
    found = [(traced.source, traced.target, traced.forward)]
    if traced.reverse is not None:
        found.append((traced.reverse.agent, traced.source, traced.reverse))
    return found


def _all_views(vantage: Vantage) -> list[HopView]:
    return [view for row in vantage.measurements for view in hops.views_of(row)]


def _with_gap(before: Sequence[str], lines: Sequence[str]) -> list[str]:
    return ["", *lines] if before else list(lines)


def _alone(agent: str, row: Measurement, width: int, color: bool) -> list[str]:
    head = f"from {agent} to {hops.where(row)}: {hops.course_text(row)}"
    if not isinstance(row.detail, TraceDetail):
        return [paint(escape(head, 400), "warn", color)]
    return [paint(escape(head, 400), "bold", color), *hops.table(row, width, color)]


def _side_by_side(traced: Traced, joined: Joined, width: int, color: bool) -> list[str]:
    there, back = joined.forward, joined.reverse
    target = traced.reverse.agent if traced.reverse is not None else traced.target
    lines = [
        paint(
            escape(f"there: {traced.source} to {hops.where(there)}, {hops.course_text(there)}", 400),
            "bold",
            color,
        ),
        paint(escape(f"back:  {target} to {hops.where(back)}, {hops.course_text(back)}", 400), "bold", color),
    ]
    last = joined.stations[-1].position
    ends = {0: traced.source, last: target}
    rows = [_station_cells(station, ends.get(station.position)) for station in joined.stations]
    lines += [f"  {line}" for line in columns(_BOTH, rows, width - 2, color)]
    style = "warn" if joined.asymmetric else ""
    return [*lines, "", paint(escape(joined.text, 300), style, color)]


def _station_cells(station: Station, end: str | None) -> list[Cell]:
    notes = []
    if station.same_link is False:
        notes.append("another link on the way back")
    for word, view in (("there", station.forward), ("back", station.reverse)):
        if view is not None and view.note:
            notes.append(f"{word}: {view.note}")
    styles = [hops.note_style(view) for view in (station.forward, station.reverse) if view is not None]
    style = next(
        (one for one in ("bad", "warn") if one in styles), "warn" if station.same_link is False else "dim"
    )
    return [
        Cell(str(station.position) if end is None else end, "bold" if end else "", right=end is None),
        *_direction_cells(station.forward),
        *_direction_cells(station.reverse),
        Cell("; ".join(notes), style),
    ]


def _direction_cells(view: HopView | None) -> list[Cell]:
    if view is None:
        return [Cell(""), Cell("", right=True), Cell("", right=True)]
    silent = Mark.SILENT in view.marks
    return [
        Cell(hops.address_text(view), "dim" if silent else "good" if Mark.TARGET in view.marks else ""),
        Cell(hops.loss_text(view), "warn" if view.lost and not silent else "dim", right=True),
        Cell(ms_text(view.best_ms), right=True),
    ]


# --- for programs -------------------------------------------------------------------------------------


def _joined_json(joined: Joined) -> JoinedJson:
    there, back = joined.forward.detail, joined.reverse.detail
    return {
        "family": joined.family,
        "forward_address": joined.forward.address,
        "reverse_address": joined.reverse.address,
        "forward_distance": there.distance if isinstance(there, TraceDetail) else None,
        "reverse_distance": back.distance if isinstance(back, TraceDetail) else None,
        "asymmetric": joined.asymmetric,
        "text": joined.text,
        "stations": [_station_json(station) for station in joined.stations],
    }


def _station_json(station: Station) -> JoinedStationJson:
    forward, reverse = station.forward, station.reverse
    return {
        "position": station.position,
        "forward_hop": forward.hop if forward else None,
        "forward_addresses": list(forward.addresses) if forward else [],
        "reverse_hop": reverse.hop if reverse else None,
        "reverse_addresses": list(reverse.addresses) if reverse else [],
        "same_link": station.same_link,
    }


def _csv_row(row: Measurement, view: HopView) -> tuple[object, ...]:
    marks = " ".join(view.marks)
    times = (view.best_ms, view.median_ms, view.worst_ms)
    return (
        row.target,
        row.address,
        view.hop,
        " ".join(view.addresses),
        view.sent,
        view.lost,
        *times,
        marks,
        view.note,
    )


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(round(value, 3))
    return str(value) if isinstance(value, int) else csv_text(str(value))

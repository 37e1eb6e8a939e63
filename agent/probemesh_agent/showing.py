"""Plain text for people at ``mesh-agent``: aligned columns, everything from elsewhere escaped. Pure."""

from collections.abc import Iterable, Sequence

from probemesh_shared import jsonout, stats
from probemesh_shared.escape import escape, escape_bytes
from probemesh_shared.hopview import hop_views
from probemesh_shared.model import (
    Detail,
    DnsDetail,
    HttpDetail,
    Measurement,
    MtuDetail,
    TargetResult,
    TcpDetail,
    TlsDetail,
    TraceDetail,
    UdpDetail,
)
from probemesh_shared.outcomes import rung_order

from probemesh_agent import doctor

_LIMIT = 100


def show_checks(checks: tuple[doctor.Check, ...], *, as_json: bool) -> str:
    """The doctor's lines, each with its remedy below."""
    if as_json:
        return jsonout.dumps(doctor.to_json(checks)) + "\n"
    lines = []
    for check in checks:
        lines.append(f"{check.level:<7} {check.name:<12} {escape(check.text)}")
        if check.fix is not None and check.level is not doctor.Level.OK:
            lines.append(f"{'':<20} → {escape(check.fix)}")
    return "\n".join(lines) + "\n"


def show_results(results: Iterable[TargetResult]) -> str:
    """One block a target: its outcome, then a row for each measurement in the order of the climb."""
    return "\n".join(_block(result) for result in results)


def _block(result: TargetResult) -> str:
    lines = []
    for vantage in result.vantages:
        where = f" at {vantage.failed_at}" if vantage.failed_at is not None else ""
        own = "this host is the target itself" if vantage.is_target else f"{vantage.outcome}{where}"
        lines.append(f"{escape(result.target.text)}: {own}")
        rows = sorted(vantage.measurements, key=lambda row: (rung_order(row.kind), row.port or 0))
        lines += _columns([_row(row) for row in rows])
        for row in rows:
            if isinstance(row.detail, TraceDetail):
                lines += ["", *_hops(row.detail, row.address)]
    return "\n".join(lines) + "\n"


def _row(row: Measurement) -> tuple[str, ...]:
    where = row.address or ""
    if row.port is not None:
        where = f"[{where}]:{row.port}" if ":" in where else f"{where}:{row.port}"
    rtt = stats.of(row.samples)
    time = "" if rtt.rtt_ms is None else f"{rtt.rtt_ms:.2f} ms"
    sent = f"{rtt.sent - rtt.lost}/{rtt.sent}" if rtt.sent else ""
    said = row.failure.detail if row.failure is not None else _said(row.detail)
    return str(row.kind), escape(where), str(row.outcome), sent, time, escape(said, _LIMIT)


def _said(detail: Detail | None) -> str:
    match detail:
        case DnsDetail():
            return ", ".join(detail.system_addresses if detail.system else [a.value for a in detail.answers])
        case TcpDetail(banner=bytes() as banner):
            return escape_bytes(banner.strip(), _LIMIT)
        case UdpDetail():
            return detail.state
        case TlsDetail():
            trust = {True: "verified", False: f"not verified: {detail.verify_error}", None: ""}[
                detail.verified
            ]
            return " ".join(filter(None, (detail.version, trust)))
        case TraceDetail():
            return "" if detail.distance is None else f"{detail.distance} hops"
        case MtuDetail():
            black = ", larger ones vanish without a word" if detail.black_hole else ""
            told = f", told by {detail.told_by}" if detail.told_by else ""
            return f"{detail.mtu} bytes{black}{told}" if detail.mtu is not None else ""
        case HttpDetail():
            return " ".join(str(part) for part in (detail.status, detail.reason) if part)
    return ""


def _hops(detail: TraceDetail, target: str | None) -> list[str]:
    rows = [("HOP", "ADDRESS", "LOSS", "BEST", "NOTE")]
    for view in hop_views(detail, target):
        best = "" if view.best_ms is None else f"{view.best_ms:.2f} ms"
        loss = "" if view.loss_ratio is None else f"{view.loss_ratio:.0%}"
        who = ", ".join(view.addresses) or "*"
        rows.append((str(view.hop), escape(who, _LIMIT), loss, best, escape(view.note, _LIMIT)))
    return _columns(rows)


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]

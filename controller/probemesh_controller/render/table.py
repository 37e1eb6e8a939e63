"""The table of ``meshctl probe``: a row a vantage point, a column a rung; a port list grouped by state."""

from collections.abc import Sequence

from probemesh_shared import stats
from probemesh_shared.escape import escape
from probemesh_shared.model import (
    DnsDetail,
    HttpDetail,
    IcmpDetail,
    Measurement,
    MtuDetail,
    TargetResult,
    TcpDetail,
    TlsDetail,
    TraceDetail,
    UdpDetail,
    Vantage,
)
from probemesh_shared.outcomes import RUNGS, Summary, certificate_verified, rungs, summarise
from probemesh_shared.portstate import CLOSED, FILTERED
from probemesh_shared.targets import count_ports
from probemesh_shared.words import NOT_MEASURED, FailureKind, Kind, Outcome

from probemesh_controller.render.compared import differing_lines
from probemesh_controller.render.findings import findings_lines
from probemesh_controller.render.hops import mtu_text, short_text, trace_lines
from probemesh_controller.render.ports import COLUMNS, fitted, port_rows, port_state, scan_cells
from probemesh_controller.render.rows import SILENT, why_text
from probemesh_controller.render.said import dnssec_text, said_lines, said_text
from probemesh_controller.render.text import Cell, columns, counted, ms_text, paint
from probemesh_controller.render.tls import tls_lines
from probemesh_controller.render.zone import zone_lines

#: Columns before the rungs.
_BEFORE = 3


def render(results: Sequence[TargetResult], width: int, color: bool = False, strict: bool = False) -> str:
    """All TARGETs, each with table, findings and summary."""
    return "\n\n".join(_result(result, width, color, strict) for result in results) + "\n"


def _result(result: TargetResult, width: int, color: bool, strict: bool) -> str:
    lines = [paint(escape(result.target.text), "bold", color), ""]
    lines += table_lines(result, width, color, strict)
    if count_ports(result.target.ports) > 1 and (said := said_lines(result, width, color)):
        lines += ["", *said]
    if courses := trace_lines(result, width, color):
        lines += ["", *courses]
    if seen := tls_lines(result, width, color):
        lines += ["", *seen]
    if servers := zone_lines(result, width, color):
        lines += ["", *servers]
    found = findings_lines(result.findings, width, color)
    if found:
        lines += ["", *found]
    differing = differing_lines(result, width, color)
    if differing:
        lines += ["", *differing]
    return "\n".join([*lines, "", summary_line(result, color, strict)])


def table_lines(result: TargetResult, width: int, color: bool, strict: bool = False) -> list[str]:
    """Header and rows; used by the live view too, where vantage points are still empty."""
    if not result.vantages:
        return ["(no vantage points)"]
    scan = count_ports(result.target.ports) > 1
    kinds = [kind for kind in RUNGS if any(m.kind is kind for v in result.vantages for m in v.measurements)]
    if scan:
        kinds = [kind for kind in kinds if kind in (Kind.DNS, Kind.ICMP)]
        extra = list(COLUMNS)
    else:
        extra = []
    heads = {Kind.DNS: "NAME", Kind.ICMP: "PING"}
    header = ["FROM", "SITE", "RESULT", *(heads.get(kind, kind.upper()) for kind in kinds), *extra, "WHY"]
    rows = [_row(vantage, kinds, scan, strict) for vantage in result.vantages]
    if scan:
        return fitted(header, rows, len(kinds) + _BEFORE, width, color)
    return columns(header, rows, width, color)


def summary_line(result: TargetResult, color: bool = False, strict: bool = False) -> str:
    counts = summarise(result.vantages, strict)
    if counts.total == 0:
        return "nobody but the target itself was asked"
    several = count_ports(result.target.ports) > 1
    if any(vantage.expect_fail for vantage in result.vantages):
        parts = _kept_out(counts, "any port" if several else "it")
    else:
        of_all = f"{counts.reached} of {counted(counts.total, 'vantage point')}"
        parts = [f"{of_all} reached {'every port' if several else 'it'}"]
        parts += [f"{counts.failed} failed"] if counts.failed else []
        parts += [f"{counts.unmeasured} not measured"] if counts.unmeasured else []
    style = "good" if counts.reached == counts.total else "bad" if not counts.reached else "warn"
    return paint(", ".join(parts), style, color)


def _kept_out(counts: Summary, it: str) -> list[str]:
    """Of a target that must not be reached; begins with what is the case."""
    everybody = counted(counts.total, "vantage point")
    said = (
        (counts.reached, f"did not reach {it}, as expected", f"did not reach {it}, as expected"),
        (counts.failed, f"reached {it}, though it must not be", "did"),
        (counts.unmeasured, f"not measured: whether {it} is reached is not known", "not measured"),
    )
    parts: list[str] = []
    for number, first, later in said:
        if number:
            parts.append(f"{number} {later}" if parts else f"{number} of {everybody} {first}")
    return parts


def verdict_cell(vantage: Vantage, strict: bool = False) -> Cell:
    """✓ reached, ✕ failed, – not measured, ◦ the target's own end: a sign and a word."""
    if vantage.is_target:
        return Cell("◦ is the target", "dim")
    if vantage.expect_fail and vantage.outcome is Outcome.OK:
        return Cell("✓ fails as expected", "good")
    if vantage.expect_fail and vantage.outcome is Outcome.ANSWER_UNEXPECTED:
        return Cell("✕ reached", "bad")
    if vantage.outcome is Outcome.OK:
        if certificate_verified(vantage) is False:
            return Cell("✕ certificate", "bad") if strict else Cell("✓ ok, certificate invalid", "warn")
        return Cell("✓ ok", "good")
    if vantage.outcome is Outcome.UNMEASURED and not vantage.measurements and vantage.reason is None:
        return Cell("… waiting", "dim")
    if vantage.outcome in NOT_MEASURED:
        return Cell(f"– {vantage.outcome}", "warn")
    return Cell(f"✕ {vantage.outcome}", "bad")


def _row(vantage: Vantage, kinds: Sequence[Kind], scan: bool, strict: bool) -> list[Cell]:
    verdict = _scan_verdict(vantage) if scan else verdict_cell(vantage, strict)
    cells = [Cell(vantage.agent), Cell(vantage.site or "–"), verdict]
    cells += [_rung_cell([m for m in vantage.measurements if m.kind is kind]) for kind in kinds]
    if scan:
        cells += scan_cells(vantage)
    return [*cells, Cell(_why(vantage) if not scan or vantage.reason else "", "dim")]


def _scan_verdict(vantage: Vantage) -> Cell:
    ports = port_rows(vantage)
    unexpected = any(row.outcome is Outcome.ANSWER_UNEXPECTED for row in ports)
    if not ports or vantage.is_target or vantage.expect_fail or unexpected:
        return verdict_cell(vantage)
    opened = len({row.port for row in ports if port_state(row) == "open"})
    total = len({row.port for row in ports})
    if vantage.outcome is Outcome.OK and opened < total:
        return Cell("✓ as expected", "good")
    sign, style = ("✓", "good") if opened == total else ("▲", "warn") if opened else ("✕", "bad")
    return Cell(f"{sign} {opened} of {total} open", style)


def _rung_cell(rows: Sequence[Measurement]) -> Cell:
    """One rung over all addresses of the target."""
    rows = [row for row in rows if not (row.failure and row.failure.kind is FailureKind.OWN_ADDRESS)] or rows
    if not rows:
        return Cell("·", "dim")
    good = [row for row in rows if row.outcome is Outcome.OK]
    worst = rungs(rows)[0].outcome
    if worst is not Outcome.OK:
        return (
            Cell(f"– {worst}", "dim") if worst in NOT_MEASURED else Cell(f"✕ {_bad_text(rows, worst)}", "bad")
        )
    text = _good_text(good[0])
    if sizes := _sizes_text(rows, good):
        return Cell(f"{text} {sizes}", "warn" if len(good) < len(rows) else "")
    tried = [row for row in rows if row.outcome not in NOT_MEASURED]
    if len(good) < len(tried):
        return Cell(f"{text} ({len(good)} of {len(tried)} addresses)", "warn")
    return Cell(text)


def _sizes_text(rows: Sequence[Measurement], good: Sequence[Measurement]) -> str:
    """Which of several payload sizes were answered, at one address or another."""
    asked = {row.detail.size for row in rows if isinstance(row.detail, IcmpDetail)} - {None}
    held = {row.detail.size for row in good if isinstance(row.detail, IcmpDetail)} - {None}
    if len(asked) < 2:
        return ""
    largest = max(size for size in held if size is not None)
    return f"({len(held)} of {len(asked)} sizes, up to {largest} bytes)"


def _bad_text(rows: Sequence[Measurement], outcome: Outcome) -> str:
    """The status where an HTTP answer was not the one expected, what silence of a datagram can mean, else
    the word."""
    for row in rows:
        if isinstance(row.detail, HttpDetail) and row.detail.status and outcome is Outcome.ANSWER_UNEXPECTED:
            return str(row.detail.status)
        if isinstance(row.detail, UdpDetail) and row.detail.state == SILENT and row.outcome is outcome:
            return SILENT
    return outcome


def _good_text(row: Measurement) -> str:
    counts = stats.of(row.samples)
    parts = [ms_text(counts.rtt_ms) or "✓"]
    match row.detail:
        case HttpDetail(status=status, redirects=hops) if status is not None:
            after = f" after {counted(len(hops), 'redirect')}" if hops else ""
            parts.insert(0, f"{status}{after}")
        case TlsDetail(version=version, verified=verified):
            parts.insert(0, (version or "TLS") + (" ✕" if verified is False else ""))
        case UdpDetail(state=state, answer_text=said) if state:
            parts.insert(0, state)
            parts.append(said or "")
        case TcpDetail(state=state) if state in (CLOSED, FILTERED):
            parts.insert(0, state)
        case TcpDetail():
            parts.append(said_text(row.detail))
        case TraceDetail() as detail:
            parts.insert(0, short_text(detail))
        case MtuDetail() as detail:
            return mtu_text(detail)
        case DnsDetail(rcode=rcode) if rcode not in (None, "NOERROR"):
            parts.insert(0, str(rcode))
        case DnsDetail() as detail:
            parts += [_answers(_values(detail) or detail.system_addresses), dnssec_text(detail)]
    if counts.lost:
        parts.append(f"({counts.lost}/{counts.sent} lost)")
    return " ".join(part for part in parts if part)


def _values(detail: DnsDetail) -> list[str]:
    """Of the type asked for, without the aliases and signatures around them; else of every type."""
    asked = [one.value for one in detail.answers if one.type == detail.record_type]
    return asked or [one.value for one in detail.answers]


def _answers(values: Sequence[str]) -> str:
    if not values:
        return ""
    return values[0] if len(values) == 1 else f"{values[0]} +{len(values) - 1}"


def _why(vantage: Vantage) -> str:
    if vantage.is_target:
        return ""
    if vantage.reason:
        return "" if vantage.reason == vantage.outcome else vantage.reason
    if vantage.outcome is Outcome.OK:
        return ""
    broken = [m for m in vantage.measurements if m.kind is vantage.failed_at and m.failure]
    exact = [m for m in broken if m.outcome is vantage.outcome]
    chosen = (exact or broken)[:1]
    return why_text(chosen[0]) if chosen else ""

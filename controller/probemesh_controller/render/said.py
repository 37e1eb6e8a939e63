"""What servers said, and what they made of our FIN, on one line each: escaped and bounded."""

from collections import defaultdict

from probemesh_shared.escape import escape, escape_bytes
from probemesh_shared.model import Detail, DnsDetail, TargetResult, TcpDetail, UdpDetail
from probemesh_shared.words import DnssecStatus

from probemesh_controller.render.ports import port_state
from probemesh_controller.render.text import Cell, columns, counted

LONGEST = 60
#: Ports with different greetings that are shown of a scan.
_MOST = 16
CLOSES = {"fin": "then FIN", "reset": "then RST", "open": "stays open"}


def said_text(detail: Detail | None, longest: int = LONGEST) -> str:
    """The first line of an answer or greeting, and what came of our FIN."""
    match detail:
        case TcpDetail():
            raw = detail.answer if detail.answer is not None else detail.banner
            line = escape_bytes(raw.strip().split(b"\n")[0].strip(), longest) if raw else ""
            return " ".join(part for part in (line, close_text(detail)) if part)
        case UdpDetail(answer_text=text) if text:
            return escape(text, longest)
        case _:
            return ""


def close_text(detail: Detail | None) -> str:
    return CLOSES.get(detail.close or "", "") if isinstance(detail, TcpDetail) else ""


def dnssec_text(detail: Detail | None) -> str:
    """What signatures are, where they came, or were asked for and did not."""
    if not isinstance(detail, DnsDetail) or detail.dnssec is None:
        return ""
    return detail.dnssec if detail.signatures or detail.dnssec is DnssecStatus.UNSIGNED else ""


def said_lines(result: TargetResult, width: int, color: bool) -> list[str]:
    """Of a scan, under its table: a row for each open port and what it said there, with who heard it."""
    heard: defaultdict[tuple[int, str], dict[str, None]] = defaultdict(dict)
    for vantage in result.vantages:
        for row in vantage.measurements:
            if port_state(row) == "open" and (text := said_text(row.detail)):
                heard[row.port or 0, text][vantage.agent] = None
    told = sorted(heard.items())
    rows = [
        [Cell(str(port), right=True), Cell(text), Cell(", ".join(agents))]
        for (port, text), agents in told[:_MOST]
    ]
    lines = columns(["PORT", "SAID", "TO"], rows, width, color) if rows else []
    more = len(told) - _MOST
    return [*lines, f"and {counted(more, 'more answer')}, see -o json"] if more > 0 else lines

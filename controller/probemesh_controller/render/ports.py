"""The ports of a scan, grouped by state and by what told it, as nmap's "Not shown" does."""

from collections.abc import Iterable, Sequence

from probemesh_shared.escape import escape
from probemesh_shared.model import Measurement, PortRange, TcpDetail, UdpDetail, Vantage
from probemesh_shared.portstate import OPEN_FILTERED, tcp_state, udp_state
from probemesh_shared.targets import count_ports, merge_ports
from probemesh_shared.words import Kind, Outcome

from probemesh_controller.render.text import Cell, columns, counted, pad, paint, width_of, wrap

#: Columns of a scan, in their order.
COLUMNS = ("OPEN", "CLOSED", "FILTERED", "OTHER")
_STATES = ("open", "closed", "filtered", "other")
_STYLES = ("good", "", "bad", "warn")
_MOST_REASONS = 4
_UNCUT = 100_000
#: Where the ports of a state begin, under a row.
_STATES_AT = 12
_MOST_SPANS = 8
_FILTERED = frozenset({Outcome.TIMEOUT, Outcome.PROHIBITED, Outcome.UNREACHABLE})


def port_rows(vantage: Vantage) -> list[Measurement]:
    """What was seen of single ports."""
    return [row for row in vantage.measurements if row.port is not None and row.kind in (Kind.TCP, Kind.UDP)]


def scan_cells(vantage: Vantage) -> list[Cell]:
    """One cell a state: ``22 (ssh),80``, ``100-129 (conn-refused)``, ``997 ports (no-response)``."""
    rows = port_rows(vantage)
    cells = []
    for state, style in zip(_STATES, _STYLES, strict=True):
        held = [row for row in rows if port_state(row) == state]
        text = _named(held) if state == "open" else _by_reason(held)
        cells.append(Cell(text, style if held else ""))
    return cells


def fitted(
    header: Sequence[str], rows: Sequence[Sequence[Cell]], first: int, width: int, color: bool
) -> list[str]:
    """The table of a scan, whose states begin at column ``first``. Where they do not fit beside each other,
    they stand under each row, wrapped and never cut."""
    whole = columns(header, rows, _UNCUT, color)
    if max(map(width_of, columns(header, rows, _UNCUT, False)), default=0) <= width:
        return whole
    end = first + len(COLUMNS)
    narrow = [[*row[:first], *row[end:]] for row in rows]
    head, *shown = columns([*header[:first], *header[end:]], narrow, width, color)
    lines = [head]
    for line, row in zip(shown, rows, strict=True):
        lines += [line, *_states(row[first:end], width, color)]
    return lines


def _states(cells: Sequence[Cell], width: int, color: bool) -> list[str]:
    lines: list[str] = []
    for name, cell in zip(COLUMNS, cells, strict=True):
        first, *rest = wrap(cell.text, width, " " * _STATES_AT) or [""]
        if cell.text:
            label = pad(f"  {name.lower()}", _STATES_AT)
            lines += [label + paint(first.lstrip(), cell.style, color)]
            lines += [paint(line, cell.style, color) for line in rest]
    return lines


def port_state(row: Measurement) -> str:
    """``open``, ``closed``, ``filtered`` (silence to a datagram too), or ``other``: nothing is known."""
    state = _told(row)[0] or ""  # before the outcome: a port may be closed as expected
    if state:
        return "filtered" if state == OPEN_FILTERED else state
    if row.outcome is Outcome.OK:
        return "open"
    return "filtered" if row.outcome in _FILTERED else "closed" if row.outcome is Outcome.REFUSED else "other"


def _told(row: Measurement) -> tuple[str | None, str | None]:
    """State and reason as the agent said, or as its failure tells where it is older."""
    if isinstance(row.detail, TcpDetail | UdpDetail) and row.detail.state:
        return row.detail.state, row.detail.reason
    if row.failure is None:
        return None, None
    return (udp_state if row.kind is Kind.UDP else tcp_state)(row.failure)


def _reason(row: Measurement) -> str:
    state, reason = _told(row)
    if reason is None:
        return str(row.outcome)
    if state == OPEN_FILTERED:
        return f"{reason}: open or filtered"
    sender = row.failure.icmp.sender if row.failure is not None and row.failure.icmp is not None else None
    return f"{reason} from {sender}" if sender else reason


def _by_reason(rows: Sequence[Measurement]) -> str:
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(_reason(row), []).append(row.port or 0)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    shown = [f"{_ports_or_count(ports)} ({reason})" for reason, ports in ordered[:_MOST_REASONS]]
    more = [counted(len(ordered) - _MOST_REASONS, "more reason")] if len(ordered) > _MOST_REASONS else []
    return ", ".join([*shown, *more])


def _named(rows: Sequence[Measurement]) -> str:
    """Open ports; those whose greeting or answer told a protocol with its name."""
    names = {row.port or 0: name for row in rows if (name := _protocol(row))}
    plain = ports_text([row.port or 0 for row in rows if row.port not in names])
    named = [f"{port} ({escape(name, 20)})" for port, name in sorted(names.items())]
    return ",".join([*named, *([plain] if plain else [])])


def _protocol(row: Measurement) -> str | None:
    match row.detail:
        case TcpDetail(banner_protocol=name) | UdpDetail(protocol=name):
            return name
        case _:
            return None


def ports_text(ports: Iterable[int], most: int = _MOST_SPANS) -> str:
    """``22,80,8000-8100``; long lists end in how many there are."""
    spans = merge_ports(PortRange(port, port) for port in ports)
    shown = ",".join(str(s.first) if s.first == s.last else f"{s.first}-{s.last}" for s in spans[:most])
    return f"{shown},… ({counted(count_ports(spans), 'port')})" if len(spans) > most else shown


def _ports_or_count(ports: Sequence[int]) -> str:
    """Of ports that nobody is after, how many there are will do."""
    spans = merge_ports(PortRange(port, port) for port in ports)
    return counted(len(set(ports)), "port") if len(spans) > _MOST_SPANS else ports_text(ports)


__all__ = ["COLUMNS", "fitted", "port_rows", "port_state", "ports_text", "scan_cells"]

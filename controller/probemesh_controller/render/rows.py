"""One flat row a measurement: the columns that ``wide`` and ``csv`` share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from probemesh_shared import stats
from probemesh_shared.escape import escape_bytes
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
    Vantage,
)

from probemesh_controller.render.hops import mtu_text, short_text

LONGEST_ANSWER = 200
#: All that silence after a datagram tells.
SILENT = "open|filtered"


@dataclass(frozen=True, slots=True)
class Row:
    """Text is as it came, not yet escaped; None is not measured or lost."""

    target: str
    agent: str
    site: str | None
    vantage_outcome: str
    kind: str | None = None
    address: str | None = None
    port: int | None = None
    outcome: str | None = None
    sent: int | None = None
    lost: int | None = None
    rtt_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    jitter_ms: float | None = None
    stage: str | None = None
    failure: str | None = None
    detail: str | None = None
    status: str | int | None = None
    answer: str | None = None
    close: str | None = None  # what became of our FIN
    dnssec: str | None = None


def rows(results: Sequence[TargetResult]) -> Iterator[Row]:
    """A vantage point without measurements has one row that says why."""
    for result in results:
        for vantage in result.vantages:
            if not vantage.measurements:
                yield _empty(result, vantage)
            for measurement in vantage.measurements:
                yield _row(vantage, measurement)


def why_text(row: Measurement) -> str:
    """Why it failed, and what the host's own resolver has beside a nameserver that has nothing."""
    said = row.failure.detail if row.failure else ""
    if row.failure and isinstance(row.detail, DnsDetail) and row.detail.system_addresses:
        own = row.detail.system_addresses
        more = f" and {len(own) - 3} more" if len(own) > 3 else ""
        return f"{said}; the host's own resolver has {', '.join(own[:3])}{more}"
    return said


def _empty(result: TargetResult, vantage: Vantage) -> Row:
    said = vantage.outcome.value
    return Row(result.target.text, vantage.agent, vantage.site, said, outcome=said, detail=vantage.reason)


def _row(vantage: Vantage, row: Measurement) -> Row:
    counts = stats.of(row.samples)
    rtt, failure = counts.rtt, row.failure
    return Row(
        target=row.target,
        agent=vantage.agent,
        site=vantage.site,
        vantage_outcome="is-target" if vantage.is_target else vantage.outcome.value,
        kind=row.kind.value,
        address=row.address,
        port=row.port,
        outcome=row.outcome.value,
        sent=counts.sent,
        lost=counts.lost,
        rtt_ms=rtt.median_ms if rtt else None,
        min_ms=rtt.min_ms if rtt else None,
        max_ms=rtt.max_ms if rtt else None,
        jitter_ms=rtt.jitter_ms if rtt else None,
        stage=failure.stage.value if failure else None,
        failure=failure.kind.value if failure else None,
        detail=why_text(row) or _notes(row.detail),
        status=_status(row.detail),
        answer=_answer(row.detail),
        close=row.detail.close if isinstance(row.detail, TcpDetail) else None,
        dnssec=row.detail.dnssec if isinstance(row.detail, DnsDetail) else None,
    )


def _notes(detail: Detail | None) -> str | None:
    """What is odd about an answer that is fine."""
    return "; ".join(detail.notes) or None if isinstance(detail, HttpDetail) else None


def _status(detail: Detail | None) -> str | int | None:
    """What the far end's protocol said it came to: the HTTP status, the DNS rcode."""
    match detail:
        case HttpDetail():
            return detail.status
        case DnsDetail():
            return detail.rcode
        case _:
            return None


def _answer(detail: Detail | None) -> str | None:
    """What came back, in short: records, a banner, the version of TLS, the state of a UDP port."""
    match detail:
        case DnsDetail():
            records = [f"{record.type} {record.value}" for record in detail.answers]
            return " ".join(detail.system_addresses if detail.system else records) or None
        case TcpDetail():
            said = detail.answer if detail.answer is not None else detail.banner
            return None if said is None else escape_bytes(said.strip(), LONGEST_ANSWER)
        case UdpDetail():
            return f"{detail.state}: {detail.answer_text}" if detail.answer_text else detail.state
        case TlsDetail():
            return detail.version
        case TraceDetail():
            return short_text(detail) if detail.reached else None
        case MtuDetail():
            return mtu_text(detail) or None
        case HttpDetail():
            return detail.reason or (f"HTTP/{detail.version}" if detail.version else None)
        case _:
            return None

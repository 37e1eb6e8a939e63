"""What was asked for by an option is shown to people, and not in JSON alone."""

import csv
import io
from dataclasses import replace

import pytest
from probemesh_controller.render import csvout, table, wide
from probemesh_controller.render.text import width_of
from probemesh_shared.model import (
    DnsDetail,
    DnsRecord,
    Failure,
    IcmpError,
    Measurement,
    PortRange,
    Target,
    TargetResult,
    TcpDetail,
    UdpDetail,
    Vantage,
)
from probemesh_shared.portstate import tcp_state
from probemesh_shared.words import DnssecStatus, FailureKind, Family, Kind, Origin, Outcome, Stage

from tests.cli.fakes import row

UNKNOWN = TcpDetail(b"hello \x1b[2Jthere\r\nmore", None)
RECORDS = (DnsRecord("a.example", "A", 5, "192.0.2.1"), DnsRecord("a.example", "A", 5, "192.0.2.2"))


def seen(*rows: Measurement, ports: tuple[PortRange, ...] = (), agents: tuple[str, ...] = ("a",)):
    outcome = Outcome.OK if all(one.outcome is Outcome.OK for one in rows) else Outcome.PROHIBITED
    vantages = tuple(Vantage(agent, None, outcome, Kind.TCP, rows) for agent in agents)
    return [TargetResult(Target("h", "h", ports), 1, vantages)]


@pytest.mark.parametrize(
    ("kind", "detail", "words"),
    [
        (Kind.TCP, UNKNOWN, r"hello \x1b[2Jthere"),
        (Kind.TCP, TcpDetail(answer=b"bye", close="fin"), "bye then FIN"),
        (Kind.TCP, TcpDetail(close="open"), "stays open"),
        (Kind.UDP, UdpDetail("open", answer_text="stratum 2"), "stratum 2"),
        (Kind.DNS, DnsDetail("a.example", "A", answers=RECORDS, rcode="NOERROR"), "192.0.2.1"),
        (
            Kind.DNS,
            DnsDetail("a.example", "A", answers=RECORDS, dnssec=DnssecStatus.SIGNED, signatures=1),
            "signed",
        ),
        (Kind.DNS, DnsDetail("a.example", "A", answers=RECORDS, dnssec=DnssecStatus.UNSIGNED), "unsigned"),
    ],
)
def test_answers_are_shown_in_table_and_wide(kind: Kind, detail, words: str) -> None:
    results = seen(row(kind, detail=detail))
    for form in (table, wide):
        assert words in form.render(results, 100)


def test_csv_has_the_close_and_the_signatures_in_columns_of_their_own() -> None:
    rows = (
        row(Kind.TCP, detail=TcpDetail(answer=b"bye", close="fin")),
        row(Kind.DNS, detail=DnsDetail("a.example", "A", dnssec=DnssecStatus.SIGNED)),
    )
    told = list(csv.DictReader(io.StringIO(csvout.render(seen(*rows)))))
    assert [(one["answer"], one["close"], one["dnssec"]) for one in told] == [
        ("bye", "fin", ""),
        ("", "", "signed"),
    ]


def port(number: int, failure: Failure | None = None, banner: bytes | None = None) -> Measurement:
    state, reason = tcp_state(failure)
    made = row(
        Kind.TCP, port=number, target=f"h:{number}", detail=TcpDetail(banner, state=state, reason=reason)
    )
    return replace(made, outcome=Outcome.PROHIBITED if failure else Outcome.OK, failure=failure)


def prohibited(sender: str) -> Failure:
    icmp = IcmpError(Family.IPV6, 1, 1, sender)
    return Failure(Stage.CONNECT, FailureKind.PROHIBITED, Origin.PATH, "words", icmp=icmp)


def test_reasons_of_a_scan_are_never_cut() -> None:
    senders = [f"2001:db8:1234:5678::{number}" for number in range(1, 4)]
    rows = [
        port(22, banner=b"SSH-2.0-x"),
        *(port(9000 + i, prohibited(one)) for i, one in enumerate(senders)),
    ]
    text = table.render(seen(*rows, ports=(PortRange(22, 9002),), agents=("a", "b")), 100)
    lines = text.splitlines()
    assert "…" not in text and max(map(width_of, lines)) <= 100
    for number, sender in enumerate(senders):
        assert " ".join(text.split()).count(f"{9000 + number} (admin-prohibited from {sender})") == 2
    assert sum(line.startswith("  filtered  ") for line in lines) == 2
    assert sum(line == "  open      22" for line in lines) == 2


def test_a_scan_that_fits_stays_a_table() -> None:
    text = table.render(seen(port(22), port(23, prohibited("2001:db8::1")), ports=(PortRange(22, 23),)), 100)
    assert "OPEN   FILTERED" in text and "23 (admin-prohibited from 2001:db8::1)" in text


def test_greetings_of_a_scan_stand_under_it_bounded() -> None:
    rows = [port(number, banner=b"x" * 200 if number == 1 else b"hello") for number in range(1, 31)]
    text = table.render(seen(*rows, ports=(PortRange(1, 30),), agents=("a", "b")), 100)
    assert "   2   hello" in text and "a, b" in text and "x" * 100 not in text
    assert "and 14 more answers, see -o json" in text

"""The servers of a zone side by side, in ``table`` and ``wide``."""

from probemesh_controller.render import table, wide
from probemesh_controller.render.zone import zone_lines
from probemesh_shared.failures import outcome_of
from probemesh_shared.model import (
    DnsDetail,
    DnsRecord,
    Failure,
    Measurement,
    Target,
    TargetResult,
    TlsDetail,
    Vantage,
)
from probemesh_shared.words import DnssecStatus, FailureKind, Kind, Origin, Outcome, Stage


def row(
    server: str | None, address: str | None, serial: int | None, *values: str, why: str | None = None
) -> Measurement:
    failure = None
    if why:
        failure = Failure(Stage.RESOLVE, FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER, why, errno="LAME")
    answers = tuple(DnsRecord("www.a.example", "A", 5, value) for value in values)
    detail = DnsDetail(
        "www.a.example", "A", zone="a.example", server_name=server, serial=serial, answers=answers
    )
    outcome = outcome_of(failure) if failure else Outcome.OK
    return Measurement(
        Kind.DNS, 0, "x", address, 53, outcome, 1, failure=failure, detail=detail if server else None
    )


PING = Measurement(Kind.ICMP, 0, "x", "::1", None, Outcome.OK, 1)
RESULT = TargetResult(
    Target("dns:www.a.example/A", "www.a.example"),
    1,
    (
        Vantage(
            "berlin",
            None,
            Outcome.OK,
            measurements=(
                row(None, None, None, why="name server ns9: no such name"),
                row("ns2.a.example", "192.0.2.3", 2025, "192.0.2.9\x1b[2J"),
                row("ns1.a.example", "192.0.2.2", 2026, "192.0.2.1", "192.0.2.7"),
                row("ns3.a.example", "192.0.2.4", None, why="www.a.example: lame"),
            ),
        ),
        Vantage(
            "self",
            None,
            Outcome.OK,
            measurements=(PING,),
        ),
    ),
)


def test_a_row_a_server_in_order_of_names() -> None:
    assert zone_lines(RESULT, 120) == [
        "FROM     SERVER          ADDRESS     SERIAL   ANSWER",
        "berlin   ns1.a.example   192.0.2.2     2026   192.0.2.1, 192.0.2.7",
        "berlin   ns2.a.example   192.0.2.3     2025   192.0.2.9\\x1b[2J",
        "berlin   ns3.a.example   192.0.2.4        –   lame",
        "berlin   –               –                –   name server ns9: no such name",
    ]


def test_table_and_wide_have_it() -> None:
    for shown in (table.render([RESULT], 120), wide.render([RESULT], 120)):
        assert "berlin   ns1.a.example   192.0.2.2     2026" in shown and "\x1b" not in shown


def test_nothing_where_no_zone_was_compared() -> None:
    plain = Measurement(Kind.DNS, 0, "x", "192.0.2.2", 53, Outcome.OK, 1, detail=DnsDetail("a", "A"))
    one = TargetResult(Target("a", "a"), 1, (Vantage("self", None, Outcome.OK, measurements=(plain,)),))
    assert zone_lines(one, 120) == []


def test_the_cell_shows_the_records_asked_for_and_what_their_signatures_are() -> None:
    answers = tuple(
        DnsRecord("a", kind, 5, value)
        for kind, value in (("CNAME", "b."), ("A", "192.0.2.1"), ("A", "192.0.2.2"), ("RRSIG", "A 13 …"))
    )
    detail = DnsDetail(
        "a", "A", answers=answers, dnssec=DnssecStatus.VALIDATED, signatures=1, tls=TlsDetail(verified=True)
    )
    measured = Measurement(Kind.DNS, 0, "a", "192.0.2.2", 53, Outcome.OK, 1, detail=detail)
    one = TargetResult(Target("a", "a"), 1, (Vantage("self", None, Outcome.OK, measurements=(measured,)),))
    assert "192.0.2.1 +1 validated" in table.render([one], 120)

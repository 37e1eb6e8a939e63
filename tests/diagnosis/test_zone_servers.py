"""What is concluded of name servers: those of a zone side by side, one that has no address, one that accepts
and says nothing, answers that lack a record."""

from collections.abc import Sequence

import pytest
from probemesh_controller.diagnosis import diagnose
from probemesh_shared.failures import outcome_of
from probemesh_shared.model import (
    DnsDetail,
    DnsTried,
    Failure,
    Finding,
    Measurement,
    Sample,
    Target,
    TargetResult,
    Vantage,
)
from probemesh_shared.outcomes import exit_code, vantage_outcome
from probemesh_shared.words import (
    Confidence,
    DnsTransport,
    FailureKind,
    Kind,
    Origin,
    Outcome,
    Stage,
    Verdict,
)

NXDOMAIN = Failure(Stage.RESOLVE, FailureKind.NO_SUCH_NAME, Origin.TARGET, "", errno="NXDOMAIN")
SILENT = Failure(Stage.RECEIVE, FailureKind.TIMEOUT, Origin.RESOLVER, "")
TARGET = Target("dns:www.a.example/A", "www.a.example", kind=Kind.DNS, record_type="A")


def failed(errno: str) -> Failure:
    return Failure(Stage.RESOLVE, FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER, "", errno=errno)


def row(
    server: str | None,
    address: str | None,
    failure: Failure | None = None,
    serial: int | None = None,
    rcode: str | None = None,
    aa: bool = True,
    record_type: str = "A",
    **more: object,
) -> Measurement:
    settings: dict[str, object] = {"zone": "a.example", "transport": DnsTransport.UDP, **more}
    detail = DnsDetail(
        "www.a.example",
        record_type,
        server=address,
        server_name=server,
        serial=serial,
        rcode=rcode,
        flags=("aa",) if aa else (),
        **settings,  # type: ignore[arg-type]
    )
    outcome = outcome_of(failure) if failure else Outcome.OK
    samples = (Sample(0, 0.0, None if failure else 1.0, outcome, failure),) if address else ()
    return Measurement(Kind.DNS, 0, TARGET.text, address, 53, outcome, 1, samples, failure, detail)


def result(rows: Sequence[Measurement], target: Target = TARGET) -> TargetResult:
    outcome, failed_at, is_target = vantage_outcome(rows, ladder=False)
    return TargetResult(target, 1, (Vantage("self", None, outcome, failed_at, tuple(rows), is_target),))


def findings(rows: Sequence[Measurement], target: Target = TARGET) -> tuple[Finding, ...]:
    return diagnose([result(rows, target)])[0]


def test_servers_that_differ_and_that_do_not_serve_are_told_though_one_answers() -> None:
    rows = [
        row("ns1.a.example", "192.0.2.1", serial=5, rcode="NOERROR"),
        row("ns2.a.example", "192.0.2.2", serial=4, rcode="NOERROR"),
        row("ns3.a.example", "192.0.2.3", failed("REFUSED"), rcode="REFUSED", aa=False),
        row("ns4.a.example", "192.0.2.4", failed("LAME"), rcode="NOERROR", aa=False),
        row("ns5.a.example", "192.0.2.5", SILENT),
        row("ns6.a.example", None, failed("EAI_NONAME")),
    ]
    assert exit_code([result(rows)]) == 0
    told = findings(rows)
    serials = next(one for one in told if one.verdict is Verdict.ANSWER_DIFFERS)
    assert serials.confidence is Confidence.CERTAIN
    assert "5 at ns1.a.example (192.0.2.1), 4 at ns2.a.example (192.0.2.2)" in serials.summary
    said, rest = (one for one in told if one.verdict is Verdict.ADDRESS_BROKEN)
    assert (said.confidence, rest.confidence) == (Confidence.CERTAIN, Confidence.POSSIBLE)
    assert "ns3.a.example (192.0.2.3) answers REFUSED" in said.summary
    assert "ns4.a.example (192.0.2.4) answers without authority (lame)" in said.summary
    assert "ns5.a.example (192.0.2.5) fails: no answer" in rest.summary
    assert "ns6.a.example does not resolve" in rest.summary
    assert len(told) == 3, "nothing about the name, which is well"


def test_servers_that_agree_are_no_finding() -> None:
    rows = [row(f"ns{n}.a.example", f"192.0.2.{n}", serial=5, rcode="NOERROR") for n in (1, 2)]
    assert findings(rows) == ()


def test_what_a_server_of_the_zone_denies_is_denied_though_another_is_silent() -> None:
    rows = [
        row("ns1.a.example", "192.0.2.1", SILENT),
        row("ns2.a.example", "192.0.2.2", NXDOMAIN, rcode="NXDOMAIN", serial=5),
    ]
    for order in (rows, rows[::-1]):
        assert vantage_outcome(order, ladder=False)[0] is Outcome.NAME_FAILS
    verdicts = [one.verdict for one in findings(rows)]
    assert verdicts == [Verdict.NAME_FAILS, Verdict.ADDRESS_BROKEN]


def test_no_server_of_the_zone_answers_with_authority() -> None:
    lame = row("ns1.a.example", "192.0.2.1", failed("LAME"), rcode="NOERROR", aa=False)
    assert [one.verdict for one in findings([lame])] == [Verdict.NAME_FAILS]


def test_no_server_of_the_zone_has_an_address() -> None:
    (told,) = findings([row("ns1.a.example", None, failed("EAI_NONAME"))])
    assert told.summary.startswith("the name server ns1.a.example does not resolve from self")


def test_name_server_without_address_is_no_finding_about_the_name() -> None:
    (told,) = findings([row("nosuch.a.example", None, failed("EAI_NONAME"), zone=None)])
    assert (told.verdict, told.scope.targets) == (Verdict.NAME_FAILS, ("nosuch.a.example",))
    assert told.summary.startswith("the name server nosuch.a.example does not resolve from self")
    assert "dns:nosuch.a.example" in (told.next_test or "")


@pytest.mark.parametrize(
    ("errno", "types", "words"),
    [
        ("NODATA", ["MX"], "the name has no MX record"),
        ("NODATA", ["A", "AAAA"], "the name has no A or AAAA record"),
        ("REFERRAL", ["MX"], "the name server refers to others"),
    ],
)
def test_answers_that_lack_a_record_say_which(errno: str, types: list[str], words: str) -> None:
    failure = Failure(Stage.RESOLVE, FailureKind.NO_ADDRESS, Origin.TARGET, "", errno=errno)
    tried = tuple(DnsTried("www.a.example", one, "NOERROR") for one in types)
    (told,) = findings([row(None, "192.0.2.1", failure, rcode="NOERROR", zone=None, tried=tried)])
    assert words in told.summary and "family" not in told.summary
    assert words in told.evidence[0].text
    (mx,) = findings([row(None, "192.0.2.1", failure, rcode="NOERROR", zone=None, record_type="MX")])
    assert "dns:www.a.example/MX --from self" in (mx.next_test or "")


@pytest.mark.parametrize("transport", [DnsTransport.TCP, DnsTransport.DOT])
def test_server_that_accepts_and_says_nothing_is_not_told_as_silent(transport: DnsTransport) -> None:
    (told,) = findings([row(None, "192.0.2.1", SILENT, zone=None, transport=transport)])
    assert told.verdict is Verdict.SERVICE_UNRESPONSIVE
    assert "is reached" in told.summary and "the connection stood, and then no answer" in told.summary
    never = Failure(Stage.CONNECT, FailureKind.TIMEOUT, Origin.RESOLVER, "")
    (told,) = findings([row(None, "192.0.2.1", never, zone=None, transport=transport)])
    assert told.verdict is Verdict.SILENT_FOR_ALL

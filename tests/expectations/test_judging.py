"""Finished measurements against expectations: a row of the table that holds, one that does not, in words."""

import dataclasses

import pytest
from probemesh_shared import failures
from probemesh_shared.expectations import INSIDE, KEYS, Judge, judge, parse_expectation, parse_expectations
from probemesh_shared.model import (
    DnsDetail,
    DnsRecord,
    Failure,
    HttpDetail,
    HttpHop,
    IcmpDetail,
    Measurement,
    Sample,
    TcpDetail,
    TlsDetail,
    UdpDetail,
)
from probemesh_shared.words import DnssecStatus, FailureKind, Kind, Origin, Outcome, Stage

from tests.expectations.certificate import EXPIRES_NS, LEAF

_DAY_NS = 86_400 * 10**9


def a_row(kind, detail=None, failure=None, rtts=(10.0, 12.0, 11.0), ttl=None, started_ns=0):
    outcome = Outcome.OK if failure is None else failures.outcome_of(failure)
    samples = tuple(
        Sample(i, i * 200.0, rtt, outcome, failure, ttl=ttl)
        if rtt is not None
        else Sample(i, i * 200.0, None, Outcome.TIMEOUT, failures.timed_out(Stage.RECEIVE, 3))
        for i, rtt in enumerate(rtts)
    )
    return Measurement(kind, 0, "t", "192.0.2.1", 80, outcome, started_ns, samples, failure, detail)


ICMP = a_row(Kind.ICMP, IcmpDetail("ping-socket"), ttl=57)
DNS = a_row(
    Kind.DNS,
    DnsDetail(
        name="x.example",
        record_type="A",
        server="192.0.2.53",
        rcode="NOERROR",
        flags=("qr", "aa", "rd"),
        answers=(
            DnsRecord("x.example", "CNAME", 60, "Web.Example."),
            DnsRecord("web.example", "A", 300, "192.0.2.7"),
            DnsRecord("web.example", "AAAA", 300, "2001:db8:0::7"),
            DnsRecord("x.example", "TXT", 300, '"v=spf1 -all"'),
        ),
        authority=(DnsRecord("example", "NS", 300, "ns1.example"),),
        additional=(DnsRecord("ns1.example", "A", 300, "192.0.2.53"),),
        dnssec=DnssecStatus.SIGNED,
    ),
)
RESOLVED = a_row(
    Kind.DNS,
    DnsDetail(name="x.example", record_type="A+AAAA", system=True, system_addresses=("192.0.2.7", "::1")),
    rtts=(3.0,),
)
TCP = a_row(Kind.TCP, TcpDetail(banner=b"SSH-2.0-OpenSSH_9.2\r\n"))
UDP = a_row(Kind.UDP, UdpDetail("open", b"pong", 4), ttl=60)
TLS_DETAIL = TlsDetail(
    "TLSv1.3", "TLS_AES_256_GCM_SHA384", "h2", "x.example", (LEAF,), True, ocsp_staple="good"
)
TLS = a_row(Kind.TLS, TLS_DETAIL, started_ns=EXPIRES_NS - 40 * _DAY_NS)
HTTP = a_row(
    Kind.HTTP,
    HttpDetail(
        "https://x.example/",
        "GET",
        "1.1",
        200,
        "OK",
        (("Content-Type", "text/html; charset=utf-8"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2")),
        location="https://x.example/there?next=1",
        tls=TLS_DETAIL,
    ),
    started_ns=EXPIRES_NS - 40 * _DAY_NS,
)

FOLLOWED = a_row(
    Kind.HTTP, HttpDetail(effective_url="https://x.example/end", redirects=(HttpHop(location="/there"),))
)

#: (row, an expectation that it meets, one that it does not, words of the refusal)
JUDGED = [
    (ICMP, "rtt-max=11ms", "rtt-max=10.9ms", "median RTT 11 ms, expected at most 10.9 ms"),
    (DNS, "rtt-min=11ms", "rtt-min=1s", "median RTT 11 ms, expected at least 1000 ms"),
    (a_row(Kind.TCP, rtts=(1.0, None)), "loss-max=50%", "loss-max=49%", "1 of 2 lost (50%)"),
    (ICMP, "reply-ttl-min=57", "reply-ttl-min=58", "an answer with TTL 57, expected at least 58"),
    (UDP, "reply-ttl-min=60", "reply-ttl-min=61", "TTL 60"),
    (DNS, "answer=192.0.2.7", "answer=192.0.2.8", "answered Web.Example., 192.0.2.7"),
    (DNS, "answer=web.example", "answer=web", "expected web among it"),
    (DNS, "answer=2001:DB8::7", "answer=::7", "expected ::7 among it"),
    (DNS, "answer=v=spf1 -all", "answer=v=spf1", "expected v=spf1 among it"),
    (DNS, "answer-not=192.0.2.8", "answer-not=WEB.example", "expected not to be"),
    (DNS, "address=2001:db8::7", "address=192.0.2.8", "the name has 192.0.2.7, 2001:db8:0::7, expected"),
    (RESOLVED, "address=192.0.2.7", "address=192.0.2.8", "the name has 192.0.2.7, ::1, expected 192.0.2.8"),
    (DNS, "rcode=NXDOMAIN,NOERROR", "rcode=NXDOMAIN", "rcode NOERROR, expected NXDOMAIN"),
    (DNS, "answers-min=4", "answers-min=5", "4 records in the answer, expected at least 5"),
    (DNS, "answers-max=4", "answers-max=3", "4 records in the answer, expected at most 3"),
    (DNS, "ttl-min=60s", "ttl-min=61s", "a TTL of 60 s, expected at least 61 s"),
    (DNS, "flag=aa,rd", "flag=aa,ad", "flags qr aa rd, expected ad among them"),
    (DNS, "authority=NS1.example.", "authority=ns2.example", "authority ns1.example, expected ns2.example"),
    (DNS, "additional=192.0.2.53", "additional=192.0.2.54", "additional 192.0.2.53, expected 192.0.2.54"),
    (DNS, "dnssec=signed,validated", "dnssec=validated", "the answer is signed, expected validated"),
    (TCP, "banner=SSH-2.0", "banner=SSH-1", "banner SSH-2.0-OpenSSH_9.2\\x0d\\x0a, expected SSH-1 in it"),
    (TCP, "answer=hex:5353482d", "answer=HTTP", "expected HTTP in it"),
    (TCP, "state=open", "state=closed", "the port is open, expected closed"),
    (UDP, "state=open", "state=closed,open-filtered", "the port is open, expected closed or open-filtered"),
    (TLS, "tls-version=1.2+", "tls-version=1.2", "TLS 1.3, expected 1.2"),
    (HTTP, "tls-version=1.3", "tls-version=1.1,1.2", "TLS 1.3, expected 1.1 or 1.2"),
    (TLS, "cipher=tls_aes_256_gcm_sha384", "cipher=AES", "cipher TLS_AES_256_GCM_SHA384, expected AES"),
    (TLS, "alpn=h2,http/1.1", "alpn=none", "ALPN h2, expected none"),
    (TLS, "expires-in=40d", "expires-in=41d", "the certificate expires in 40.0 days, expected"),
    (HTTP, "expires-in=1d", "expires-in=52w", "valid for 364d"),
    (TLS, "verified=yes", "verified=no", "the certificate verifies, expected otherwise"),
    (TLS, "ocsp=good", "ocsp=none", "OCSP staple good, expected none"),
    (FOLLOWED, "redirect=https://x.example/end", "redirect=https://x.example/there*", "redirected to"),
    (HTTP, "status=200-299", "status=404,500-599", "status 200, expected 404,500-599"),
    (HTTP, "header=content-type: TEXT/html", "header=Content-Type: json", "header Content-Type is text/html"),
    (HTTP, "header=Set-Cookie: b=2", "header=ETag", "no header ETag"),
    (HTTP, "http-version=1.1", "http-version=2", "HTTP/1.1, expected 2"),
    (HTTP, "redirect=https://x.example/*", "redirect=https://x.example/", "redirected to https://x.example/"),
]


@pytest.mark.parametrize(("row", "met", "unmet", "words"), JUDGED, ids=lambda one: str(one)[:30])
def test_a_row_is_as_expected_or_it_is_told_why_not(row, met, unmet, words):
    assert judge(row, [parse_expectation(met)]) is None
    assert Judge([parse_expectation(met)]).judged(row) is row
    told = Judge([parse_expectation(unmet)]).judged(row)
    assert told.outcome is Outcome.ANSWER_UNEXPECTED
    assert told.failure is not None and words in told.failure.detail
    assert (told.failure.kind, told.failure.origin) == (FailureKind.ANSWER_UNEXPECTED, Origin.TARGET)
    assert told.log[-1] == told.failure.detail and told.failure.detail.isprintable()
    assert told.samples is row.samples and told.detail is row.detail


def test_every_judge_of_the_table_has_both_a_row_that_meets_it_and_one_that_does_not():
    shown = {met.partition("=")[0] for _, met, _, _ in JUDGED} | {"fingerprint"}
    inside = {name for name, key in KEYS.items() if set(key.judges.values()) == {INSIDE}}
    assert shown | inside == set(KEYS)


def test_the_fingerprint_is_that_of_the_leaf():
    import hashlib

    own = hashlib.sha256(LEAF).hexdigest()
    assert judge(TLS, [parse_expectation(f"fingerprint={own}")]) is None
    failure = judge(TLS, [parse_expectation(f"fingerprint={'0' * 64}")])
    assert failure is not None and own[:16] in failure.detail


def a_failure(kind, stage=Stage.CONNECT):
    return Failure(stage, kind, Origin.TARGET, f"it was {kind}")


def nx(rcode="NXDOMAIN", kind=FailureKind.NO_SUCH_NAME):
    detail = DnsDetail(name="x", record_type="A", server="192.0.2.53", rcode=rcode)
    return a_row(Kind.DNS, detail, a_failure(kind, Stage.RESOLVE))


REFUSED = a_row(Kind.TCP, failure=a_failure(FailureKind.REFUSED), rtts=(1.0, 1.2))
SILENT = a_row(Kind.TCP, failure=a_failure(FailureKind.TIMEOUT), rtts=(None, None))
GONE = a_row(Kind.HTTP, HttpDetail(status=404), a_failure(FailureKind.STATUS_UNEXPECTED, Stage.HTTP))
CLOSED = a_row(Kind.UDP, UdpDetail("closed"), a_failure(FailureKind.REFUSED), rtts=(None,))
QUIET = a_row(Kind.UDP, UdpDetail("open|filtered"), a_failure(FailureKind.TIMEOUT), rtts=(None,))

EXCUSED = [
    (nx(), "rcode=NXDOMAIN", True),
    (nx(), "rcode=NOERROR", False),
    (nx("SERVFAIL", FailureKind.NAME_SERVER_FAILED), "rcode=SERVFAIL", True),
    (nx("NOERROR", FailureKind.NO_ADDRESS), "rcode=NOERROR", False),
    (nx("NOERROR", FailureKind.NO_ADDRESS), "answers-max=0", True),
    (nx(), "answers-max=0", False),
    (REFUSED, "state=closed", True),
    (REFUSED, "state=filtered", False),
    (REFUSED, "rtt-max=9s", False),
    (SILENT, "state=filtered", True),
    (SILENT, "state=closed", False),
    (GONE, "status=404", True),
    (GONE, "status=410", False),
    (CLOSED, "state=closed", True),
    (QUIET, "state=open-filtered", True),
    (QUIET, "state=filtered,open", False),
]


@pytest.mark.parametrize(("row", "expectation", "excused"), EXCUSED)
def test_a_failure_that_was_expected_is_none_and_any_other_stays_as_it_is(row, expectation, excused):
    told = Judge([parse_expectation(expectation)]).judged(row)
    if not excused:
        assert told is row
        return
    assert (told.outcome, told.failure) == (Outcome.OK, None)
    assert told.log[-1] == f"as expected: {row.failure.detail}"
    assert told.samples is row.samples


def test_what_was_excused_still_has_to_meet_the_others_by_its_own_times():
    both = Judge(parse_expectations(["state=closed", "rtt-max=1ms"]))
    assert both.judged(REFUSED).failure.detail == "median RTT 1.1 ms, expected at most 1 ms"
    assert Judge(parse_expectations(["state=closed", "rtt-max=2ms"])).judged(REFUSED).outcome is Outcome.OK


def test_every_one_of_several_has_to_be_met():
    both = Judge(parse_expectations(["answer=192.0.2.7", "answer=192.0.2.9"]))
    assert "expected 192.0.2.9" in both.judged(DNS).failure.detail
    assert Judge(parse_expectations(["answer=192.0.2.7", "answer=web.example"])).judged(DNS) is DNS


def test_what_was_not_measured_and_other_kinds_are_left_alone():
    denied = dataclasses.replace(TCP, outcome=Outcome.DENIED, samples=())
    asked = Judge(parse_expectations(["rtt-max=1us", "status=200"]))
    assert asked.judged(denied) is denied
    assert Judge([parse_expectation("status=500")]).judged(TCP) is TCP


def test_an_unknown_round_trip_is_not_within_bounds():
    unknown = a_row(Kind.TCP, rtts=())
    assert judge(unknown, [parse_expectation("rtt-max=9s")]).detail.startswith("no round trip is known")


def test_in_a_climb_times_are_judged_where_they_are_the_networks():
    climb = Judge(parse_expectations(["rtt-max=1us", "answer=x", "loss-max=0%"]), ladder=True)
    assert climb.judged(TCP).outcome is Outcome.ANSWER_UNEXPECTED
    assert climb.judged(ICMP).outcome is Outcome.ANSWER_UNEXPECTED
    assert climb.judged(HTTP) is HTTP and climb.judged(TLS) is TLS and climb.judged(RESOLVED) is RESOLVED
    name = Judge(parse_expectations(["address=192.0.2.8"]), ladder=True)
    assert name.judged(RESOLVED).outcome is Outcome.ANSWER_UNEXPECTED


@pytest.mark.parametrize("kind", [Kind.DNS, Kind.TCP, Kind.UDP, Kind.TLS, Kind.HTTP, Kind.ICMP])
def test_a_row_without_any_detail_is_judged_and_never_a_fault(kind):
    for key in KEYS.values():
        if kind in key.kinds:
            Judge([parse_expectation(key.example)]).judged(a_row(kind))


def test_hostile_values_are_shown_escaped():
    hostile = a_row(Kind.TCP, TcpDetail(banner=b"\x1b[2J" + b"A" * 252))
    assert judge(hostile, [parse_expectation("banner=x")]).detail.isprintable()
    broken = a_row(Kind.TLS, TlsDetail(chain=(b"\x30\x82\xff",)))
    assert "cannot be read" in judge(broken, [parse_expectation("expires-in=1d")]).detail

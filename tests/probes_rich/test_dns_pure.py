"""What answers say of DNSSEC, of zones and of the host's own way to names: decided without a network."""

import struct
from dataclasses import replace

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent.env import Nameservers
from probemesh_agent.net.namefiles import NameFiles
from probemesh_agent.probes.dnsexplain import agreement, explained, in_words
from probemesh_agent.probes.dnsjudge import failure_of
from probemesh_agent.probes.dnssec import status_of, worth_asking_unchecked
from probemesh_agent.probes.dnswire import (
    PLAINLY,
    Answer,
    Asking,
    Question,
    question,
    read_answer,
)
from probemesh_agent.probes.dnszone import Zone, find_zone, parent, servers_of
from probemesh_shared.model import DnsExtendedError, DnsRecord, Failure
from probemesh_shared.words import DnsAgreement, DnssecStatus, DnsSource, FailureKind

DO = Asking(dnssec=True)
PLAIN = Answer("NOERROR", ("qr", "aa"), (), False, True, edns_flags=("do",))


@pytest.mark.parametrize(
    ("how", "answer", "unchecked", "status"),
    [
        (DO, replace(PLAIN, flags=("qr", "ad")), None, DnssecStatus.VALIDATED),
        (DO, replace(PLAIN, rcode="NXDOMAIN", flags=("qr", "ad")), None, DnssecStatus.VALIDATED),
        (DO, replace(PLAIN, rcode="SERVFAIL", flags=("qr", "ad")), None, DnssecStatus.UNKNOWN),
        (DO, replace(PLAIN, signatures=2), None, DnssecStatus.SIGNED),
        (DO, PLAIN, None, DnssecStatus.UNSIGNED),
        (DO, replace(PLAIN, edns_flags=()), None, DnssecStatus.UNKNOWN),
        (DO, replace(PLAIN, flags=("qr",)), None, DnssecStatus.UNKNOWN),
        (Asking(), PLAIN, None, DnssecStatus.UNKNOWN),
        (Asking(edns_size=0, dnssec=True), PLAIN, None, DnssecStatus.UNKNOWN),
        (DO, replace(PLAIN, rcode="SERVFAIL"), PLAIN, DnssecStatus.BOGUS),
        (DO, replace(PLAIN, rcode="SERVFAIL"), replace(PLAIN, rcode="NXDOMAIN"), DnssecStatus.BOGUS),
        (DO, replace(PLAIN, rcode="SERVFAIL"), replace(PLAIN, rcode="SERVFAIL"), DnssecStatus.UNKNOWN),
        (DO, replace(PLAIN, rcode="REFUSED"), None, DnssecStatus.UNKNOWN),
    ],
)
def test_status(how: Asking, answer: Answer, unchecked: Answer | None, status: DnssecStatus):
    assert status_of(how, answer, unchecked) is status


@pytest.mark.parametrize("code", range(30))
def test_extended_errors_that_speak_of_signatures(code: int):
    failed = replace(PLAIN, rcode="SERVFAIL", errors=(DnsExtendedError(code),))
    wanted = DnssecStatus.BOGUS if 6 <= code <= 12 else DnssecStatus.UNKNOWN
    assert status_of(Asking(), failed) is wanted


def test_once_more_without_checks_only_after_servfail_with_do():
    failed = replace(PLAIN, rcode="SERVFAIL")
    assert worth_asking_unchecked(DO, failed)
    assert not worth_asking_unchecked(DO, PLAIN)
    assert not worth_asking_unchecked(Asking(), failed)
    assert not worth_asking_unchecked(replace(DO, checking_disabled=True), failed)


# --- the question, and what an answer holds ---------------------------------------------------------------


def made(name: str = "a.example", kind: str = "A", how: Asking = PLAINLY) -> Question:
    asked = question(name, kind, how)
    assert isinstance(asked, Question)
    return asked


def test_questions_carry_what_was_asked_for():
    plain = dns.message.from_wire(made().wire)
    assert plain.edns == 0 and plain.payload == 1232 and not plain.ednsflags
    assert [int(option.otype) for option in plain.options] == [3]
    assert plain.flags == dns.flags.RD | dns.flags.AD
    bare = dns.message.from_wire(made(how=Asking(edns_size=0, dnssec=True)).wire)
    assert bare.edns == -1
    full = made(how=Asking(edns_size=4096, dnssec=True, recurse=False, checking_disabled=True))
    told = dns.message.from_wire(full.wire)
    assert (
        told.payload == 4096 and told.ednsflags == dns.flags.DO and told.flags == dns.flags.AD | dns.flags.CD
    )


def answered(asked: Question, *lines: str, options: tuple[dns.edns.Option, ...] = (), **sections) -> bytes:
    whole = dns.message.make_response(asked.message)
    whole.use_edns(0, 0, 1400, options=list(options))
    for section, texts in (("answer", lines), *sections.items()):
        for text in texts:
            name, ttl, kind, value = text.split(" ", 3)
            getattr(whole, section).append(dns.rrset.from_text(name, int(ttl), "IN", kind, value))
    return whole.to_wire(max_size=65535)


def read(asked: Question, data: bytes) -> Answer:
    answer = read_answer(asked, data)
    assert answer is not None
    return answer


SIGNATURE = "A 13 2 5 {} 20260101000000 1 example. " + "A" * 86 + "=="
SOA = "example. 5 SOA ns.example. root.example. 77 2 3 4 5"


def test_sections_signatures_and_serial():
    asked = made()
    told = read(
        asked,
        answered(
            asked,
            "a.example. 5 A 192.0.2.1",
            "a.example. 5 RRSIG " + SIGNATURE.format("20270101000000"),
            "a.example. 5 RRSIG " + SIGNATURE.format("20261231000000"),
            authority=(SOA, "example. 9 NS ns.example."),
            additional=("ns.example. 9 A 192.0.2.53",),
        ),
    )
    assert [one.type for one in told.authority] == ["SOA", "NS"] and told.serial == 77
    assert [one.value for one in told.additional] == ["192.0.2.53"]
    assert told.signatures == 2 and told.signature_expires_s == 1798675200
    assert told.edns_size == 1400 and told.left_out == 0


def test_too_many_records_are_counted_and_not_kept():
    asked = made("a.example", "TXT")
    many = [f'a.example. 5 TXT "{n}"' for n in range(260)]
    told = read(asked, answered(asked, *many))
    assert len(told.records) == 200 and told.left_out == 60 and told.has_type
    hostile = "\\000" * 255
    long = [f'{n}.a.example. 5 TXT "{hostile}" "{hostile}"' for n in range(100)]
    told = read(asked, answered(asked, *long, authority=long[:10], additional=long[:10]))
    kept = (*told.records, *told.authority, *told.additional)
    assert sum(len(one.name) + len(one.value) for one in kept) <= 203_000
    assert told.left_out == 120 - len(kept) and told.left_out > 0


def test_nsid_and_extended_errors():
    asked = made()

    def nsid(data: bytes) -> str | None:
        return read(asked, answered(asked, options=(dns.edns.GenericOption(3, data),))).nsid

    assert nsid(b"fra-1") == "fra-1" and nsid(b"") == ""
    assert nsid(b"\x1b[2J") == "hex:1b5b324a"
    assert len(nsid(b"\xff" * 60_000) or "") == 256
    errors = tuple(dns.edns.EDEOption(code, "why\x1b" * 300) for code in (6, 49152, *range(20)))
    told = read(asked, answered(asked, options=errors)).errors
    assert len(told) == 8 and (told[0].info_code, told[0].name) == (6, "dnssec-bogus")
    assert told[1].name is None and all(len(one.text) <= 500 for one in told)


def test_options_in_disorder():
    asked = made()
    latin = dns.edns.GenericOption(15, b"\x00\x06m\xfcde\0")
    told = read(asked, answered(asked, options=(dns.edns.GenericOption(15, b"\x00"), latin))).errors
    assert [(one.info_code, one.text) for one in told] == [(6, "m\ufffdde")]
    whole = answered(asked, options=(dns.edns.GenericOption(3, b"fra"),))
    for size in (2, 4, 255):  # the option's length, where three bytes are left
        assert read_answer(asked, whole[:-4] + bytes([size]) + whole[-3:]) is None, size


@given(st.binary(max_size=60))
def test_any_options(data: bytes):
    asked = made()
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(data)) + data
    message = asked.wire[:2] + struct.pack("!HHHHH", 0x8180, 1, 0, 0, 1)
    question = asked.wire[12 : 12 + len("a.example") + 2 + 4]
    found = read_answer(asked, message + question + opt)
    assert found is None or found.edns_size == 1232


def test_failures_say_what_the_server_says():
    asked = made()
    errors = (DnsExtendedError(18, "prohibited", "not you\x1b"),)
    failed = failure_of(asked, Answer("REFUSED", ("qr",), (), False, False, errors=errors))
    assert failed is not None and failed.errno == "REFUSED"
    assert "prohibited (18) 'not you\\x1b'" in failed.detail
    bogus = Answer("SERVFAIL", ("qr",), (), False, False, dnssec=DnssecStatus.BOGUS)
    failed = failure_of(asked, bogus)
    assert failed is not None and "DNSSEC validation fails" in failed.detail
    lame = made(how=Asking(recurse=False, authoritative=True))
    failed = failure_of(lame, replace(PLAIN, flags=("qr",)))
    assert failed is not None and failed.errno == "LAME" and failed.kind is FailureKind.NAME_SERVER_FAILED
    assert failure_of(lame, PLAIN) is None


def test_alias_alone_is_an_answer_where_nobody_was_to_follow_it():
    alias = replace(PLAIN, has_type=False, records=(DnsRecord("a.example", "CNAME", 5, "b.test."),))
    assert failure_of(made(how=Asking(recurse=False)), alias) is None
    assert failure_of(made(how=Asking(recurse=False, authoritative=True)), alias) is None
    failed = failure_of(made(), alias)
    assert failed is not None and failed.errno == "NODATA" and "an alias for b.test." in failed.detail
    lame = failure_of(made(how=Asking(recurse=False, authoritative=True)), replace(alias, flags=("qr",)))
    assert lame is not None and lame.errno == "LAME"
    gone = replace(PLAIN, rcode="NXDOMAIN", flags=("qr",))
    lame = failure_of(made(how=Asking(recurse=False, authoritative=True)), gone)
    assert lame is not None and lame.errno == "LAME", "it does not have the zone"


def test_thousands_of_records_are_found_and_few_unpacked(monkeypatch: pytest.MonkeyPatch):
    """Names of a hundred labels behind pointers: to unpack them all took fifteen seconds."""
    asked, unpacked = made("a.example", "NS"), []
    question_end = 12 + len("a.example") + 2 + 4
    owner = b"\x01a" * 115 + b"\xc0\x0c"
    pointer = struct.pack("!H", 0xC000 | question_end)
    one = struct.pack("!HHIHcs2s", 2, 1, 5, 4, b"\x01", b"b", pointer)
    body = owner + one + (pointer + one) * 3499
    data = asked.wire[:2] + struct.pack("!HHHHH", 0x8180, 1, 3500, 0, 0) + asked.wire[12:question_end] + body
    real = dns.rdata.from_wire

    def counting(*arguments):
        unpacked.append(1)
        return real(*arguments)

    monkeypatch.setattr(dns.rdata, "from_wire", counting)
    told = read(asked, data)
    assert len(told.records) + told.left_out == 3500 and len(unpacked) == len(told.records) <= 200


@pytest.mark.parametrize("questions", [0, 2, 5000])
def test_other_than_one_question_is_no_answer(questions: int):
    asked = made()
    question = asked.wire[12 : 12 + len("a.example") + 2 + 4]
    data = asked.wire[:2] + struct.pack("!HHHHH", 0x8180, questions, 0, 0, 0) + question * questions
    assert read_answer(asked, data) is None


def test_edns_only_once_and_in_its_place():
    asked = made()
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
    question = asked.wire[12 : 12 + len("a.example") + 2 + 4]

    def with_counts(*counts: int, body: bytes) -> bytes:
        return asked.wire[:2] + struct.pack("!HHHHH", 0x8180, 1, *counts) + question + body

    assert read(asked, with_counts(0, 0, 1, body=opt)).edns_size == 1232
    assert read_answer(asked, with_counts(0, 0, 2, body=opt * 2)) is None
    assert read_answer(asked, with_counts(1, 0, 0, body=opt)) is None
    assert read_answer(asked, with_counts(0, 0, 1, body=b"\x01a" + opt)) is None
    bad_version = struct.pack("!HHIH", 41, 1232, 1 << 24, 0)
    assert read(asked, with_counts(0, 0, 1, body=b"\0" + bad_version)).rcode == "BADVERS"


RICH = made("a.example", "A", DO)
RICH_ANSWER = answered(
    RICH,
    "a.example. 5 CNAME b.example.",
    "b.example. 5 A 192.0.2.1",
    "b.example. 5 RRSIG " + SIGNATURE.format("20270101000000"),
    authority=(SOA, "example. 9 NS ns.example."),
    additional=("ns.example. 9 AAAA 2001:db8::53",),
    options=(dns.edns.GenericOption(3, b"fra-1"), dns.edns.EDEOption(3, "stale")),
)


@pytest.mark.parametrize("size", range(len(RICH_ANSWER)))
def test_cut_at_every_byte_is_no_answer(size: int):
    assert read_answer(RICH, RICH_ANSWER[:size]) is None


@given(
    st.lists(st.tuples(st.integers(12, len(RICH_ANSWER) - 1), st.integers(0, 255)), min_size=1, max_size=12),
    st.binary(max_size=20),
)
def test_any_bytes_of_it_changed(changes: list[tuple[int, int]], tail: bytes):
    data = bytearray(RICH_ANSWER)
    for place, value in changes:
        data[place] = value
    found = read_answer(RICH, bytes(data) + tail)
    if found is not None:
        status_of(DO, found)
        failure_of(RICH, found)
        assert all(len(one.value) <= 2048 for one in (*found.records, *found.authority, *found.additional))


@pytest.mark.parametrize("section", range(4, 12, 2))
def test_counts_that_promise_more_than_there_is(section: int):
    data = bytearray(RICH_ANSWER)
    data[section : section + 2] = b"\xff\xff"
    assert read_answer(RICH, bytes(data)) is None


# --- zones ------------------------------------------------------------------------------------------------


def servers(name: str, *values: str) -> Answer:
    found = tuple(DnsRecord(name, "NS", 5, value) for value in values)
    return Answer("NOERROR", ("qr",), found, False, bool(found))


def no_data(soa: str | None = None, rcode: str = "NOERROR") -> Answer:
    authority = (DnsRecord(soa, "SOA", 5, "x"),) if soa else ()
    return Answer(rcode, ("qr",), (), False, False, authority=authority)


async def walked(name: str, answers: dict[str, Answer], kind: str = "A") -> tuple[Zone | Failure, list[str]]:
    asked: list[str] = []

    async def ask(candidate: str) -> Answer:
        asked.append(candidate)
        return answers.get(candidate, no_data())

    return await find_zone(name, kind, ask), asked


async def test_the_closest_enclosing_zone():
    tops = {"example": servers("example", "ns.example."), ".": servers(".", "a.root.")}
    zone, asked = await walked("a.b.example.", tops)
    assert zone == Zone("example", ("ns.example",)) and asked == ["a.b.example", "b.example", "example"]
    zone, asked = await walked("a.b.c.example", tops | {"a.b.c.example": no_data("example", "NXDOMAIN")})
    assert zone == Zone("example", ("ns.example",)) and asked == ["a.b.c.example", "example"]
    zone, asked = await walked(".", tops)
    assert zone == Zone(".", ("a.root",))
    zone, asked = await walked("example", tops, "DS")
    assert zone == Zone(".", ("a.root",)) and asked == ["."]


async def test_servers_behind_an_alias_are_another_name_s():
    behind = servers("other.test", "ns.other.test.")
    zone, _ = await walked(
        "www.example", {"www.example": behind, "example": servers("EXAMPLE.", "b.ns.", "A.ns.", "a.ns.")}
    )
    assert zone == Zone("example", ("a.ns", "b.ns"))


async def test_foreign_soa_neither_leads_astray_nor_round_in_circles():
    for owner in ("www.example", "elsewhere.test", "a.www.example", "ample"):
        zone, asked = await walked(
            "www.example", {"www.example": no_data(owner), "example": servers("example", "ns.example.")}
        )
        assert isinstance(zone, Zone) and asked == ["www.example", "example"], owner


async def test_no_zone_and_failing_resolvers_end():
    zone, asked = await walked(".".join("a" * 120), {})
    assert isinstance(zone, Failure) and len(asked) == 24
    zone, _ = await walked("a.example", {"a.example": no_data(rcode="SERVFAIL")})
    assert isinstance(zone, Failure) and zone.errno == "SERVFAIL"


def test_thirteen_servers_at_most():
    found = servers_of("example", servers("example", *(f"n{i:02}.example." for i in range(20))))
    assert found is not None and len(found.servers) == 13 and found.left_out == 7


def test_parents():
    assert parent("a.b") == "b" and parent("b") == "." and parent(".") is None
    assert parent("a\\.b.c") == "c" and parent("a\\\\.c") == "c"


# --- the host's own way -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "server", "word"),
    [
        ("ab", "ba", DnsAgreement.SAME),
        ("ab", "bc", DnsAgreement.OVERLAPPING),
        ("a", "b", DnsAgreement.DIFFERENT),
        ("a", "", DnsAgreement.ONLY_SYSTEM),
        ("", "b", DnsAgreement.ONLY_SERVER),
        ("", "", DnsAgreement.NEITHER),
    ],
)
def test_agreement(system: str, server: str, word: DnsAgreement):
    assert agreement(system, server) is word


OWN = Nameservers(search=("corp.example",), ndots=1)
A = (DnsRecord("db", "A", 5, "192.0.2.1"),)


def test_where_the_system_has_it_from():
    hosts = NameFiles("192.0.2.1 db\n", "hosts: files dns\n")
    told = explained("db", ("A",), OWN, hosts, ["192.0.2.1"], A)
    assert (told.source, told.agreement) == (DnsSource.HOSTS_FILE, DnsAgreement.SAME)
    assert told.candidates == ("db.corp.example", "db") and told.hosts[0].line == 1
    nothing = NameFiles("", "hosts: files dns\n")
    assert explained("db", ("A",), OWN, nothing, ["192.0.2.1"], A).source is DnsSource.DNS
    assert explained("db", ("A",), OWN, nothing, ["192.0.2.9"], A).source is DnsSource.UNKNOWN
    assert explained("db", ("A",), OWN, nothing, [], A).source is None
    unread = NameFiles("192.0.2.1 db\n", "hosts: dns\n")
    told = explained("db", ("A",), OWN, unread, ["192.0.2.1"], A)
    assert told.source is DnsSource.DNS
    assert any("not looked at" in line for line in in_words("db", told))


def test_only_the_family_asked_for_is_compared():
    told = explained("db", ("A",), OWN, NameFiles(), ["192.0.2.1", "2001:db8::1"], A)
    assert told.agreement is DnsAgreement.SAME
    told = explained("db", ("A",), OWN, NameFiles(), ["192.0.2.1"], None)
    assert told.agreement is None, "no answer came to compare with"

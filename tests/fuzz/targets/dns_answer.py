"""What a name server answers: layout, records, EDNS, and what is made of them in words."""

from types import SimpleNamespace
from typing import Any, cast

import dns.edns
import dns.message
import dns.rrset
from probemesh_agent.env import ProbeFailed
from probemesh_agent.probes.dnsjudge import failure_of
from probemesh_agent.probes.dnsways import Ways
from probemesh_agent.probes.dnswire import Asking, Question, question, read_answer
from probemesh_agent.probes.dnszone import addresses_of, parent, servers_of
from probemesh_shared.model import DnsDetail
from probemesh_shared.words import DnsTransport

from tests.fuzz.checks import Memory, cut, drive, is_told, pick, travels


def _asked(record_type: str, how: Asking) -> Question:
    asked = question("a.example", record_type, how)
    assert isinstance(asked, Question)
    return asked


ASKED = (
    _asked("A", Asking()),
    _asked("ANY", Asking(dnssec=True)),
    _asked("SOA", Asking(recurse=False, authoritative=True)),
    _asked("TXT", Asking(edns_size=0)),
)
_RECORDS = (
    ("a.example.", "A", "192.0.2.1", "192.0.2.2"),
    ("a.example.", "CNAME", "b.example."),
    ("a.example.", "TXT", '"x" "y\\000\\255"'),
    ("a.example.", "MX", "10 m.a.example."),
    ("a.example.", "SRV", "1 2 3 s.example."),
    ("a.example.", "HTTPS", "1 . alpn=h2 ipv4hint=192.0.2.1 port=8443"),
    ("a.example.", "CAA", '0 issue "ca.example"'),
    ("a.example.", "NAPTR", '1 1 "u" "x" "!a!b!" .'),
    ("a.example.", "LOC", "52 22 23.000 N 4 53 32.000 E -2.00m"),
    ("a.example.", "DNSKEY", "257 3 13 AAAA"),
    ("a.example.", "NSEC", "b.example. A RRSIG NSEC"),
    ("a.example.", "SOA", "n.example. h.example. 7 1 2 3 4"),
    ("example.", "NS", "n1.example.", "n2.example."),
    (
        "a.example.",
        "RRSIG",
        "A 13 2 60 20300101000000 20200101000000 1 example. AAAA",
    ),
)


def _answered(asked: Question, number: int) -> bytes:
    """As a server would say it, without the id and the question's own bytes."""
    made = dns.message.make_response(asked.message, our_payload=1232)
    if asked.how.edns_size:
        told = [dns.edns.EDEOption(6, "bogus"), dns.edns.GenericOption(dns.edns.NSID, b"ns1")]
        made.use_edns(0, payload=1232, options=told)
    for place, (name, kind, *values) in enumerate(_RECORDS):
        if (place + number) % 3 == 0:
            continue
        section = (made.answer, made.authority, made.additional)[(place + number) % 3]
        section.append(dns.rrset.from_text(name, 60, "IN", kind, *values))
    return made.to_wire()


SEEDS = (
    *(bytes((at,)) + _answered(asked, more)[2:] for at, asked in enumerate(ASKED) for more in range(3)),
    b"\4\0\0\3abc",
    b"\4\1\0\3abcde",
)


def read(data: bytes) -> None:
    asked, rest = pick(data, (*ASKED, None))
    if asked is None:
        _by_tcp(rest)
        return
    answer = read_answer(asked, asked.wire[:2] + rest)
    if answer is None:
        return
    assert len(answer.records) <= 200 and len(answer.authority) <= 50 and len(answer.additional) <= 50
    records = (*answer.records, *answer.authority, *answer.additional)
    assert sum(len(one.name) + len(one.value) for one in records) <= 210_000
    travels(
        DnsDetail(
            asked.name,
            asked.record_type,
            rcode=answer.rcode,
            flags=answer.flags,
            answers=answer.records,
            authority=answer.authority,
            additional=answer.additional,
            records_left_out=answer.left_out,
            answer_size=answer.size,
            edns_size=answer.edns_size,
            edns_flags=answer.edns_flags,
            nsid=answer.nsid,
            extended_errors=answer.errors,
            serial=answer.serial,
            signatures=answer.signatures,
            signature_expires_ns=(answer.signature_expires_s or 0) * 1_000_000_000,
        )
    )
    if (failure := failure_of(asked, answer)) is not None:
        is_told(failure)
    zone = servers_of("example", answer)
    if zone is not None:
        assert 0 < len(zone.servers) <= 13 and addresses_of(zone.glue, "A") is not None
        assert all(parent(name) is not None for name in zone.servers if name != ".")


def _by_tcp(data: bytes) -> None:
    """The two bytes of length before a message, in pieces."""
    ways = cast(Any, SimpleNamespace())
    try:
        drive(Ways._exchange(ways, Memory(cut(data)), DnsTransport.TCP, None, ASKED[0], 1.0))
    except ProbeFailed as failed:
        is_told(failed.failure)

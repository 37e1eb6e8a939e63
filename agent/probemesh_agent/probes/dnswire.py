"""DNS messages: the question to ask, which answer is the one to it, and what an answer says. No I/O.

dnspython does the parsing; whatever it throws at hostile bytes ends here as None. An answer is ours only
with the question's id, the QR bit and the same question (RFC 5452 §9.1); the source address is the
socket's business.
"""

import secrets
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
from probemesh_shared.model import DnsRecord, Failure
from probemesh_shared.words import FailureKind, Origin, Stage

from probemesh_agent.net.literals import parse_literal

#: What RFC 9715 and the DNS flag day recommend: fits every path.
_EDNS_SIZE = 1232
_MOST_RECORDS = 200
_LONGEST_VALUE = 2048


@dataclass(frozen=True, slots=True)
class Question:
    """``wire`` is the whole message."""

    name: str
    record_type: str
    wire: bytes
    message: dns.message.Message


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back to a question. ``has_type``: records of the type asked for are among ``records``."""

    rcode: str
    flags: tuple[str, ...]
    records: tuple[DnsRecord, ...]
    truncated: bool
    has_type: bool


def question(name: str, record_type: str) -> Question | Failure:
    """A recursive query with EDNS, or why there can be none."""
    try:
        kind = dns.rdatatype.from_text(record_type)
    except (dns.exception.DNSException, ValueError):
        return _unsupported(f"{record_type[:40]!a} is no DNS record type")
    if dns.rdatatype.is_metatype(kind) and kind != dns.rdatatype.ANY:
        return _unsupported(f"{record_type} is not a type of records that can be asked for")
    try:
        asked = dns.name.from_text(name)
        message = dns.message.make_query(
            asked, kind, use_edns=0, payload=_EDNS_SIZE, id=secrets.randbelow(1 << 16)
        )
        wire = message.to_wire()
    except (dns.exception.DNSException, UnicodeError, ValueError) as error:
        detail = f"{name[:100]!a} is not a DNS name ({type(error).__name__})"
        return Failure(Stage.RESOLVE, FailureKind.NO_SUCH_NAME, Origin.TARGET, detail)
    return Question(asked.to_text(omit_final_dot=True), dns.rdatatype.to_text(kind), wire, message)


def reverse_name(literal: str) -> str | None:
    """The name whose PTR records tell an address's names; None where ``literal`` is no address."""
    address = parse_literal(literal)
    if address is None:
        return None
    return dns.reversename.from_address(str(address).partition("%")[0]).to_text(omit_final_dot=True)


def read_answer(asked: Question, data: bytes) -> Answer | None:
    """None: not the answer to ``asked``, or malformed."""
    try:
        outer = dns.message.from_wire(data, question_only=True)
        if not asked.message.is_response(outer):
            return None
        if outer.flags & dns.flags.TC:
            return Answer(dns.rcode.to_text(outer.rcode()), _flags(outer), (), True, False)
        whole = dns.message.from_wire(data)
        records = _records(whole)
    except Exception:  # the parser's own classes are many, and hostile bytes find others
        return None
    wanted = (asked.record_type, "ANY")
    has_type = any(asked.record_type == "ANY" or record.type in wanted for record in records)
    return Answer(dns.rcode.to_text(whole.rcode()), _flags(whole), records, False, has_type)


def failure_of(asked: Question, answer: Answer) -> Failure | None:
    """What an answer's rcode, or its lack of records, means."""
    if answer.rcode == "NXDOMAIN":
        detail = f"{asked.name}: no such name (NXDOMAIN)"
        return Failure(Stage.RESOLVE, FailureKind.NO_SUCH_NAME, Origin.TARGET, detail, errno="NXDOMAIN")
    if answer.rcode != "NOERROR":
        detail = f"{asked.name}: the name server answered {answer.rcode}"
        kind = FailureKind.NAME_SERVER_FAILED
        return Failure(Stage.RESOLVE, kind, Origin.RESOLVER, detail, errno=answer.rcode)
    if not answer.has_type:
        detail = f"{asked.name}: the name server knows no {asked.record_type} record (NOERROR, no data)"
        return Failure(Stage.RESOLVE, FailureKind.NO_ADDRESS, Origin.TARGET, detail, errno="NODATA")
    return None


def _records(message: dns.message.Message) -> tuple[DnsRecord, ...]:
    found: list[DnsRecord] = []
    for rrset in message.answer:
        name, kind = rrset.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(rrset.rdtype)
        for rdata in rrset:
            if len(found) == _MOST_RECORDS:
                return tuple(found)
            found.append(DnsRecord(name, kind, int(rrset.ttl), rdata.to_text()[:_LONGEST_VALUE]))
    return tuple(found)


def _flags(message: dns.message.Message) -> tuple[str, ...]:
    return tuple(dns.flags.to_text(message.flags).lower().split())


def _unsupported(detail: str) -> Failure:
    return Failure(Stage.SEND, FailureKind.UNSUPPORTED, Origin.AGENT, detail)

"""DNS messages: the question to ask, which answer is the one to it, and what an answer says. No I/O.

dnspython does the parsing; whatever it throws at hostile bytes ends here as None. An answer is ours only
with the question's id, the QR bit and the same question (RFC 5452 §9.1); the source address is the
socket's business. How much of an answer is kept is bounded, and what was left out is counted.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
from probemesh_shared.model import DnsExtendedError, DnsRecord, Failure
from probemesh_shared.words import DnssecStatus, FailureKind, Origin, Stage

from probemesh_agent.net.literals import parse_literal

#: What RFC 9715 and the DNS flag day recommend: fits every path.
EDNS_SIZE = 1232
_MOST_RECORDS = 200
_MOST_BESIDE = 50  # in authority, and in additional
_MOST_TEXT = 200_000  # characters of all records together: a measurement has to fit into a message
_LONGEST_VALUE = 2048
_LONGEST_NSID = 256
_MOST_ERRORS = 8


@dataclass(frozen=True, slots=True)
class Asking:
    """How a question is put. ``edns_size`` 0: without EDNS, and so without DO and NSID. ``authoritative``:
    put to a server of the zone, from which anything but an answer with authority is a fault."""

    edns_size: int = EDNS_SIZE
    dnssec: bool = False
    recurse: bool = True
    checking_disabled: bool = False
    authoritative: bool = False


PLAINLY = Asking()


@dataclass(frozen=True, slots=True)
class Question:
    """``wire`` is the whole message."""

    name: str
    record_type: str
    wire: bytes
    message: dns.message.Message
    how: Asking = PLAINLY


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back to a question. ``has_type``: records of the type asked for are among ``records``.

    ``signature_expires_s``: of the earliest RRSIG, Unix time. ``dnssec`` is filled by who knows what was
    asked."""

    rcode: str
    flags: tuple[str, ...]
    records: tuple[DnsRecord, ...]
    truncated: bool
    has_type: bool
    size: int = 0
    authority: tuple[DnsRecord, ...] = ()
    additional: tuple[DnsRecord, ...] = ()
    left_out: int = 0
    edns_size: int | None = None
    edns_flags: tuple[str, ...] = ()
    nsid: str | None = None
    errors: tuple[DnsExtendedError, ...] = ()
    signatures: int = 0
    signature_expires_s: int | None = None
    serial: int | None = None
    dnssec: DnssecStatus | None = None


def question(name: str, record_type: str, how: Asking = Asking()) -> Question | Failure:
    """A query, recursive and with EDNS unless ``how`` says otherwise, or why there can be none."""
    try:
        kind = dns.rdatatype.from_text(record_type)
    except (dns.exception.DNSException, ValueError):
        return _unsupported(f"{record_type[:40]!a} is no DNS record type")
    if dns.rdatatype.is_metatype(kind) and kind != dns.rdatatype.ANY:
        return _unsupported(f"{record_type} is not a type of records that can be asked for")
    try:
        asked = dns.name.from_text(name)
        message = _message(asked, kind, how)
        wire = message.to_wire()
    except (dns.exception.DNSException, UnicodeError, ValueError) as error:
        detail = f"{name[:100]!a} is not a DNS name ({type(error).__name__})"
        return Failure(Stage.RESOLVE, FailureKind.NO_SUCH_NAME, Origin.TARGET, detail)
    return Question(plain_name(asked), dns.rdatatype.to_text(kind), wire, message, how)


def _message(name: dns.name.Name, kind: dns.rdatatype.RdataType, how: Asking) -> dns.message.Message:
    """AD asks for the AD bit of the answer (RFC 6840 §5.7); NSID is asked for wherever there is EDNS."""
    flags = dns.flags.AD
    if how.recurse:
        flags |= dns.flags.RD
    if how.checking_disabled:
        flags |= dns.flags.CD
    number = secrets.randbelow(1 << 16)
    if not how.edns_size:
        return dns.message.make_query(name, kind, use_edns=False, id=number, flags=flags)
    nsid = dns.edns.GenericOption(dns.edns.NSID, b"")
    return dns.message.make_query(
        name,
        kind,
        use_edns=0,
        want_dnssec=how.dnssec,
        payload=how.edns_size,
        options=[nsid],
        id=number,
        flags=flags,
    )


def plain_name(name: dns.name.Name) -> str:
    """Without the final dot; the root is ``.``."""
    return name.to_text(omit_final_dot=True)


def reverse_name(literal: str) -> str | None:
    """The name whose PTR records tell an address's names; None where ``literal`` is no address."""
    address = parse_literal(literal)
    if address is None:
        return None
    return plain_name(dns.reversename.from_address(str(address).partition("%")[0]))


def read_answer(asked: Question, data: bytes) -> Answer | None:
    """None: not the answer to ``asked``, or malformed."""
    try:
        outer = dns.message.from_wire(data, question_only=True)
        if not asked.message.is_response(outer):
            return None
        if outer.flags & dns.flags.TC:
            return Answer(dns.rcode.to_text(outer.rcode()), _flags(outer), (), True, False, len(data))
        return _told(asked, dns.message.from_wire(data), len(data))
    except Exception:  # the parser's own classes are many, and hostile bytes find others
        return None


def _told(asked: Question, message: dns.message.Message, size: int) -> Answer:
    kept = _Kept()
    records = kept.section(message.answer, _MOST_RECORDS)
    kinds = {dns.rdatatype.to_text(rrset.rdtype) for rrset in message.answer}
    expiries = _expiries(message)
    return Answer(
        rcode=dns.rcode.to_text(message.rcode()),
        flags=_flags(message),
        records=records,
        truncated=False,
        has_type=bool(kinds) if asked.record_type == "ANY" else asked.record_type in kinds,
        size=size,
        authority=kept.section(message.authority, _MOST_BESIDE),
        additional=kept.section(message.additional, _MOST_BESIDE),
        left_out=kept.left_out,
        edns_size=message.payload if message.edns >= 0 else None,
        edns_flags=tuple(dns.flags.edns_to_text(message.ednsflags & 0xFFFF).lower().split()),
        nsid=_nsid(message.options),
        errors=_errors(message.options),
        signatures=len(expiries),
        signature_expires_s=min(expiries, default=None),
        serial=_serial(message),
    )


@dataclass(slots=True)
class _Kept:
    """Takes records out of sections until there is text enough."""

    text_left: int = _MOST_TEXT
    left_out: int = field(default=0)

    def section(self, rrsets: Iterable[dns.rrset.RRset], most: int) -> tuple[DnsRecord, ...]:
        found: list[DnsRecord] = []
        for rrset in rrsets:
            name, kind = plain_name(rrset.name), dns.rdatatype.to_text(rrset.rdtype)
            for place, rdata in enumerate(rrset):
                if len(found) == most or self.text_left <= 0:
                    self.left_out += len(rrset) - place
                    break
                value = rdata.to_text()[:_LONGEST_VALUE]
                self.text_left -= len(name) + len(value)
                found.append(DnsRecord(name, kind, int(rrset.ttl), value))
        return tuple(found)


def _expiries(message: dns.message.Message) -> list[int]:
    signatures = (rrset for rrset in (*message.answer, *message.authority) if rrset.rdtype == _RRSIG)
    return [int(rdata.expiration) for rrset in signatures for rdata in rrset]


_RRSIG = dns.rdatatype.RRSIG


def _serial(message: dns.message.Message) -> int | None:
    for rrset in (*message.answer, *message.authority):
        if rrset.rdtype == dns.rdatatype.SOA and rrset:
            return int(rrset[0].serial)
    return None


def _nsid(options: Iterable[dns.edns.Option]) -> str | None:
    """As text where it is printable, else ``hex:…``; RFC 5001 leaves its meaning open."""
    for option in options:
        if option.otype == dns.edns.NSID:
            data = option.to_wire() or b""
            text = data.decode("ascii", "replace")
            shown = text if data.isascii() and text.isprintable() else "hex:" + data.hex()
            return shown[:_LONGEST_NSID]
    return None


def _errors(options: Iterable[dns.edns.Option]) -> tuple[DnsExtendedError, ...]:
    told = [option for option in options if isinstance(option, dns.edns.EDEOption)]
    return tuple(
        DnsExtendedError(int(one.code), _error_name(int(one.code)), (one.text or "")[:500])
        for one in told[:_MOST_ERRORS]
    )


def _error_name(code: int) -> str | None:
    """``dnssec-bogus``; None for a code that is not registered."""
    name = dns.edns.EDECode.make(code).name
    return None if name is None or name.isdigit() else name.lower().replace("_", "-")


def failure_of(asked: Question, answer: Answer) -> Failure | None:
    """What an answer's rcode, its lack of records, or its lack of authority means."""
    if answer.rcode == "NXDOMAIN":
        detail = f"{asked.name}: no such name (NXDOMAIN){_beside(answer)}"
        return Failure(Stage.RESOLVE, FailureKind.NO_SUCH_NAME, Origin.TARGET, detail, errno="NXDOMAIN")
    if answer.rcode != "NOERROR":
        detail = f"{asked.name}: the name server answered {answer.rcode}{_beside(answer)}"
        return _server_failed(detail, answer.rcode)
    if asked.how.authoritative and "aa" not in answer.flags:
        detail = f"{asked.name}: the name server answers without authority for the zone (lame)"
        return _server_failed(detail + _beside(answer), "LAME")
    if answer.has_type:
        return None
    if zone := _referred(answer):
        detail = f"{asked.name}: no answer, but a referral to the servers of {zone}"
        return Failure(Stage.RESOLVE, FailureKind.NO_ADDRESS, Origin.TARGET, detail, errno="REFERRAL")
    detail = f"{asked.name}: the name server knows no {asked.record_type} record (NOERROR, no data)"
    detail += _beside(answer)
    return Failure(Stage.RESOLVE, FailureKind.NO_ADDRESS, Origin.TARGET, detail, errno="NODATA")


def _server_failed(detail: str, errno: str) -> Failure:
    kind = FailureKind.NAME_SERVER_FAILED
    return Failure(Stage.RESOLVE, kind, Origin.RESOLVER, detail, errno=errno)


def _beside(answer: Answer) -> str:
    """The server's own reasons (RFC 8914), and what its signatures came to, behind the rcode."""
    told = [f"{one.name or 'error'} ({one.info_code})" + _quoted(one.text) for one in answer.errors[:2]]
    if answer.dnssec is DnssecStatus.BOGUS:
        told.append("its DNSSEC validation fails")
    return "; " + ", ".join(told) if told else ""


def _quoted(text: str) -> str:
    return f" {text[:200]!a}" if text else ""


def _referred(answer: Answer) -> str | None:
    if answer.records or "aa" in answer.flags or any(one.type == "SOA" for one in answer.authority):
        return None
    return next((one.name for one in answer.authority if one.type == "NS"), None)


def _flags(message: dns.message.Message) -> tuple[str, ...]:
    return tuple(dns.flags.to_text(message.flags).lower().split())


def _unsupported(detail: str) -> Failure:
    return Failure(Stage.SEND, FailureKind.UNSUPPORTED, Origin.AGENT, detail)

"""DNS messages: the question to ask, which answer is the one to it, and what an answer says. No I/O.

dnspython unpacks names and records; whatever it throws at hostile bytes ends here as None. An answer is ours
only with the question's id, the QR bit and the same question (RFC 5452 §9.1); the source address is the
socket's business. How many records are unpacked and kept is bounded, and what was left out is counted.
"""

import secrets
from dataclasses import dataclass
from typing import Any

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
from probemesh_shared.model import DnsExtendedError, DnsRecord, Failure
from probemesh_shared.words import DnssecStatus, FailureKind, Origin, Stage

from probemesh_agent.net.literals import parse_literal
from probemesh_agent.probes import dnsraw
from probemesh_agent.probes.dnsedns import Edns, errors, nsid, options_of

#: What RFC 9715 and the DNS flag day recommend: fits every path.
EDNS_SIZE = 1232
_MOST_RECORDS = 200
_MOST_BESIDE = 50  # in authority, and in additional
_MOST_TEXT = 200_000  # characters of all records together: a measurement has to fit into a message
_LONGEST_VALUE = 2048
_OF_NAME = (dnsraw.ANSWER, dnsraw.AUTHORITY)


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
    if data[:2] != asked.wire[:2] or not dnsraw.has_one_question_at_most(data):
        return None
    try:
        outer = dns.message.from_wire(data, question_only=True)
        if not asked.message.is_response(outer):
            return None
        if outer.flags & dns.flags.TC:
            return Answer(dns.rcode.to_text(outer.rcode()), _flags(outer.flags), (), True, False, len(data))
        found = dnsraw.layout(data)
        return None if found is None else _told(asked, data, outer.flags, found)
    except Exception:  # the parser's own classes are many, and hostile bytes find others
        return None


def _told(asked: Question, data: bytes, flags: int, found: dnsraw.Layout) -> Answer:
    kept = _Kept(data, found)
    records = kept.section(dnsraw.ANSWER, _MOST_RECORDS)
    kinds = {_type_text(raw.kind) for raw in kept.raws(dnsraw.ANSWER)}
    signatures = [raw for raw in found.records if raw.kind == dnsraw.RRSIG and raw.section in _OF_NAME]
    expiries = [ends for raw in signatures if (ends := dnsraw.expires_s(data, raw)) is not None]
    edns = _edns(data, found.opt)
    return Answer(
        rcode=dns.rcode.to_text(dns.rcode.from_flags(flags, edns.flags)),
        flags=_flags(flags),
        records=records,
        truncated=False,
        has_type=bool(kinds) if asked.record_type == "ANY" else asked.record_type in kinds,
        size=len(data),
        authority=kept.section(dnsraw.AUTHORITY, _MOST_BESIDE),
        additional=kept.section(dnsraw.ADDITIONAL, _MOST_BESIDE),
        left_out=kept.left_out,
        edns_size=edns.size,
        edns_flags=edns.words,
        nsid=nsid(edns.options),
        errors=errors(edns.options),
        signatures=len(signatures),
        signature_expires_s=min(expiries, default=None),
        serial=kept.serial,
    )


def _type_text(kind: int) -> str:
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(kind))


@dataclass(slots=True)
class _Kept:
    """Unpacks records of a message until there is text enough; the others are counted."""

    data: bytes
    found: dnsraw.Layout
    text_left: int = _MOST_TEXT
    left_out: int = 0
    serial: int | None = None

    def raws(self, section: int) -> list[dnsraw.Raw]:
        return [raw for raw in self.found.records if raw.section == section]

    def section(self, section: int, most: int) -> tuple[DnsRecord, ...]:
        raws, kept = self.raws(section), []
        for raw in raws[:most]:
            if self.text_left <= 0:
                break
            record = self._record(raw)
            self.text_left -= len(record.name) + len(record.value)
            kept.append(record)
        self.left_out += len(raws) - len(kept)
        return tuple(kept)

    def _record(self, raw: dnsraw.Raw) -> DnsRecord:
        name, _ = dns.name.from_wire(self.data, raw.at)
        rdata = _rdata(self.data, raw)
        if raw.kind == dns.rdatatype.SOA and raw.section in _OF_NAME and self.serial is None:
            self.serial = int(rdata.serial)
        value = rdata.to_text()[:_LONGEST_VALUE]
        return DnsRecord(plain_name(name), _type_text(raw.kind), raw.ttl, value)


def _edns(data: bytes, raw: dnsraw.Raw | None) -> Edns:
    if raw is None:
        return Edns()
    return Edns(raw.klass, raw.ttl, options_of(data[raw.start : raw.start + raw.size]))


def _rdata(data: bytes, raw: dnsraw.Raw) -> Any:
    klass, kind = dns.rdataclass.RdataClass.make(raw.klass), dns.rdatatype.RdataType.make(raw.kind)
    return dns.rdata.from_wire(klass, kind, data, raw.start, raw.size)


def _flags(flags: int) -> tuple[str, ...]:
    return tuple(dns.flags.to_text(flags).lower().split())


def _unsupported(detail: str) -> Failure:
    return Failure(Stage.SEND, FailureKind.UNSUPPORTED, Origin.AGENT, detail)

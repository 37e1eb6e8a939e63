"""Results as the JSON contract has them (:mod:`probemesh_shared.jsonshape`). Pure.

Nothing is computed but statistics. Certificates travel as DER; whoever calls hands in what reads them.
Numbers are finite, times RFC 3339 with Z, durations rounded to a microsecond. :func:`dumps` writes ASCII, so
that no text of a remote end steers a terminal.
"""

import json
import math
from collections.abc import Callable, Iterable
from typing import Any, cast

from probemesh_shared import stats
from probemesh_shared.chainjudge import Judged, chain_problems, days_left
from probemesh_shared.consistency import AspectView, consistency
from probemesh_shared.jsonshape import (
    AgentJson,
    AgentsJson,
    AspectJson,
    CertificateJson,
    DetailJson,
    DnsDetailJson,
    DnsRecordJson,
    FailureJson,
    FindingJson,
    HttpDetailJson,
    HttpHopJson,
    HttpPhasesJson,
    MeasurementJson,
    NarrowingJson,
    ResultJson,
    SampleJson,
    SystemLookupJson,
    TlsDetailJson,
    TlsEnumerationJson,
    TlsVersionTakenJson,
    TokenJson,
    ValueGroupJson,
    VantageJson,
)
from probemesh_shared.jsontrace import icmp_error_to_json, mtu_to_json, trace_to_json
from probemesh_shared.model import (
    AgentInfo,
    Detail,
    DnsDetail,
    DnsRecord,
    Failure,
    Finding,
    FlowDetail,
    HttpDetail,
    HttpHop,
    HttpPhases,
    IcmpDetail,
    Measurement,
    MtuDetail,
    Narrowing,
    Sample,
    SystemLookup,
    TargetResult,
    TcpDetail,
    TlsDetail,
    TlsEnumeration,
    TlsVersionTaken,
    TraceDetail,
    UdpDetail,
    Vantage,
    WatchDetail,
)
from probemesh_shared.moments import time_text
from probemesh_shared.narrowing import ports_text
from probemesh_shared.outcomes import summarise

ParseCertificate = Callable[[bytes], CertificateJson]


def result_to_json(
    result: TargetResult, parse_certificate: ParseCertificate, strict: bool = False
) -> ResultJson:
    """One TARGET. ``strict`` counts a certificate that did not verify as failed in ``summary``."""
    counts = summarise(result.vantages, strict)
    return {
        "schema": 1,
        "target": result.target.text,
        "started_at": time_text(result.started_ns),
        "vantages": [vantage_to_json(vantage, parse_certificate) for vantage in result.vantages],
        "findings": [finding_to_json(finding) for finding in result.findings],
        "consistency": [aspect_to_json(view) for view in consistency(result)],
        "summary": {
            "reached": counts.reached,
            "failed": counts.failed,
            "unmeasured": counts.unmeasured,
            "total": counts.total,
        },
    }


def agents_to_json(agents: Iterable[AgentInfo]) -> AgentsJson:
    return {"schema": 1, "agents": [_agent(agent) for agent in agents]}


def token_to_json(token: str, expires_ns: int, command: str) -> TokenJson:
    return {"schema": 1, "token": token, "expires_at": time_text(expires_ns), "command": command}


def finding_to_json(finding: Finding) -> FindingJson:
    scope, place = finding.scope, finding.place
    return {
        "verdict": finding.verdict,
        "scope": {
            "from": list(scope.sources),
            "to": list(scope.targets),
            "transport": scope.transport,
            "port": scope.port,
            "family": scope.family,
        },
        "direction": finding.direction,
        "place": {"kind": place.kind, "address": place.address, "hop": place.hop} if place else None,
        "confidence": finding.confidence,
        "summary": finding.summary,
        "evidence": [{"id": e.id, "supports": e.supports, "text": e.text} for e in finding.evidence],
        "alternatives": list(finding.alternatives),
        "next_test": finding.next_test,
    }


def aspect_to_json(view: AspectView) -> AspectJson:
    groups: list[ValueGroupJson] = [
        {"value": group.value, "vantages": list(group.vantages)} for group in view.groups
    ]
    return {"aspect": view.aspect, "port": view.port, "groups": groups, "agreed": view.agreed}


def dumps(value: Any, indent: int | None = 2) -> str:
    """ASCII JSON without NaN. One line where ``indent`` is None."""
    return json.dumps(value, indent=indent, ensure_ascii=True, allow_nan=False)


def plain(value: Any) -> Any:
    """The same with words as plain strings, for writers that know nothing of enums."""
    return json.loads(dumps(value, None))


def _ms(value: float | None) -> float | None:
    return round(value, 3) if value is not None and math.isfinite(value) else None


def _time(wall_ns: int | None) -> str | None:
    return None if wall_ns is None else time_text(wall_ns)


def _sure_ms(value: float) -> float:
    return _ms(value) or 0.0


def _bytes(data: bytes | None) -> tuple[str | None, str | None]:
    """(text, hex); hex only where the text does not say everything: not UTF-8, or with control characters."""
    if data is None:
        return None, None
    text = data.decode("utf-8", "backslashreplace")
    exact = (
        text.encode() == data and "\\x" not in text and all(c.isprintable() or c in "\r\n\t" for c in text)
    )
    return text, None if exact else data.hex()


def _agent(agent: AgentInfo) -> AgentJson:
    return {
        "name": agent.name,
        "site": agent.site,
        "labels": dict(sorted(agent.labels.items())),
        "state": agent.state,
        "version": bare_version(agent.version),
        "addresses": list(agent.addresses),
        "capabilities": list(agent.capabilities),
        "last_seen": None if agent.last_seen_ns is None else time_text(agent.last_seen_ns),
        "reason": agent.reason,
        "narrowed": [_narrowing(one) for one in agent.narrow],
    }


def _narrowing(narrowing: Narrowing) -> NarrowingJson:
    return {
        "by": narrowing.source,
        "networks": list(narrowing.networks),
        "deny_networks": list(narrowing.deny_networks),
        "names": list(narrowing.names),
        "ports": [ports_text(span) for span in narrowing.ports],
        "kinds": list(narrowing.kinds),
    }


def bare_version(told: str | None) -> str | None:
    """``0.1.0``, also where an agent says ``probemesh 0.1.0`` or ``probemesh/0.1.0``."""
    return told.removeprefix("probemesh").lstrip(" /") or None if told else None


def vantage_to_json(vantage: Vantage, parse: ParseCertificate) -> VantageJson:
    return {
        "agent": vantage.agent,
        "site": vantage.site,
        "outcome": vantage.outcome,
        "failed_at": vantage.failed_at,
        "is_target": vantage.is_target,
        "reason": vantage.reason,
        "expect_fail": vantage.expect_fail,
        "measurements": [_measurement(row, parse) for row in vantage.measurements],
        "followed": [_measurement(row, parse) for row in vantage.followed],
    }


def _measurement(row: Measurement, parse: ParseCertificate) -> MeasurementJson:
    counts = stats.of(row.samples)
    rtt = counts.rtt
    return {
        "kind": row.kind,
        "target": row.target,
        "address": row.address,
        "port": row.port,
        "outcome": row.outcome,
        "started_at": time_text(row.started_ns),
        "sent": counts.sent,
        "lost": counts.lost,
        "loss_ratio": None if counts.loss_ratio is None else round(counts.loss_ratio, 6),
        "rtt_ms": _ms(counts.rtt_ms),
        "rtt": None
        if rtt is None
        else {
            "min_ms": _sure_ms(rtt.min_ms),
            "median_ms": _sure_ms(rtt.median_ms),
            "mean_ms": _sure_ms(rtt.mean_ms),
            "max_ms": _sure_ms(rtt.max_ms),
            "stddev_ms": _ms(rtt.stddev_ms),
            "jitter_ms": _ms(rtt.jitter_ms),
        },
        "samples": [_sample(sample) for sample in row.samples],
        "failure": _failure(row.failure),
        "detail": _detail(row.detail, row.address, parse, time_text(row.started_ns)),
        "log": list(row.log),
    }


def _sample(sample: Sample) -> SampleJson:
    return {
        "seq": sample.seq,
        "offset_ms": _sure_ms(sample.offset_ms),
        "rtt_ms": _ms(sample.rtt_ms),
        "outcome": sample.outcome,
        "failure": _failure(sample.failure),
        "timing": sample.timing,
        "ttl": sample.ttl,
        "syn_retransmits": sample.syn_retransmits,
    }


def _failure(failure: Failure | None) -> FailureJson | None:
    if failure is None:
        return None
    return {
        "stage": failure.stage,
        "kind": failure.kind,
        "origin": failure.origin,
        "detail": failure.detail,
        "errno": failure.errno,
        "icmp": icmp_error_to_json(failure.icmp) if failure.icmp else None,
    }


def _detail(
    detail: Detail | None, address: str | None, parse: ParseCertificate, at: str
) -> DetailJson | None:
    match detail:
        case None:
            return None
        case IcmpDetail():
            return {
                "method": detail.method,
                "size": detail.size,
                "duplicates": detail.duplicates,
                "late": detail.late,
                "answered_by": list(detail.answered_by),
            }
        case TcpDetail():
            banner, banner_hex = _bytes(detail.banner)
            answer, answer_hex = _bytes(detail.answer)
            return {
                "banner": banner,
                "banner_hex": banner_hex,
                "banner_protocol": detail.banner_protocol,
                "local_address": detail.local_address,
                "local_port": detail.local_port,
                "mss": detail.mss,
                "pmtu": detail.pmtu,
                "scan": detail.scan,
                "state": detail.state,
                "reason": detail.reason,
                "answer": answer,
                "answer_hex": answer_hex,
                "answer_ms": _ms(detail.answer_ms),
                "close": detail.close,
                "close_ms": _ms(detail.close_ms),
            }
        case UdpDetail():
            answer, answer_hex = _bytes(detail.answer)
            return {
                "state": detail.state,
                "answer": answer,
                "answer_hex": answer_hex,
                "answer_size": detail.answer_size,
                "protocol": detail.protocol,
                "answer_text": detail.answer_text,
                "reason": detail.reason,
            }
        case DnsDetail():
            return _dns(detail, parse, at)
        case TlsDetail():
            return _tls(detail, parse, at)
        case HttpDetail():
            return _http(detail, parse, at)
        case TraceDetail():
            return trace_to_json(detail, address)
        case MtuDetail():
            return mtu_to_json(detail)
        case FlowDetail() | WatchDetail():
            return None


def _dns(detail: DnsDetail, parse: ParseCertificate, at: str) -> DnsDetailJson:
    return {
        "name": detail.name,
        "record_type": detail.record_type,
        "system": detail.system,
        "server": detail.server,
        "transport": detail.transport,
        "rcode": detail.rcode,
        "flags": list(detail.flags),
        "answers": _records(detail.answers),
        "system_addresses": list(detail.system_addresses),
        "system_failure": _failure(detail.system_failure),
        "resolvers": list(detail.resolvers),
        "authority": _records(detail.authority),
        "additional": _records(detail.additional),
        "records_left_out": detail.records_left_out,
        "answer_size": detail.answer_size,
        "truncated": detail.truncated,
        "edns_size": detail.edns_size,
        "edns_flags": list(detail.edns_flags),
        "nsid": detail.nsid,
        "extended_errors": [
            {"info_code": e.info_code, "name": e.name, "text": e.text} for e in detail.extended_errors
        ],
        "passed_over": detail.passed_over,
        "serial": detail.serial,
        "zone": detail.zone,
        "server_name": detail.server_name,
        "dnssec": detail.dnssec,
        "signatures": detail.signatures,
        "signature_expires_at": None
        if detail.signature_expires_ns is None
        else time_text(detail.signature_expires_ns),
        "tried": [
            {"name": t.name, "record_type": t.record_type, "rcode": t.rcode, "found": t.found}
            for t in detail.tried
        ],
        "lookup": _lookup(detail.lookup) if detail.lookup else None,
        "tls": _tls(detail.tls, parse, at) if detail.tls else None,
        "http_version": detail.http_version,
        "http_status": detail.http_status,
    }


def _records(records: Iterable[DnsRecord]) -> list[DnsRecordJson]:
    return [{"name": r.name, "type": r.type, "ttl_s": r.ttl_s, "value": r.value} for r in records]


def _lookup(lookup: SystemLookup) -> SystemLookupJson:
    return {
        "order": list(lookup.order),
        "search": list(lookup.search),
        "ndots": lookup.ndots,
        "candidates": list(lookup.candidates),
        "hosts": [{"line": h.line, "address": h.address, "names": list(h.names)} for h in lookup.hosts],
        "source": lookup.source,
        "agreement": lookup.agreement,
    }


def _tls(detail: TlsDetail, parse: ParseCertificate, at: str) -> TlsDetailJson:
    chain = [parse(der) for der in detail.chain]
    return {
        "version": detail.version,
        "cipher": detail.cipher,
        "alpn": detail.alpn,
        "server_name": detail.server_name,
        "chain": chain,
        "verified": detail.verified,
        "verify_code": detail.verify_code,
        "verify_error": detail.verify_error,
        "tcp_ms": _ms(detail.tcp_ms),
        "handshake_ms": _ms(detail.handshake_ms),
        "alert": detail.alert,
        "starttls": detail.starttls,
        "key_exchange": detail.key_exchange,
        "chain_problems": chain_problems(
            chain, Judged(detail.verify_code, detail.server_name, at, detail.ocsp_staple)
        ),
        "days_left": days_left(chain, at),
        "client_certificate_requested": detail.client_certificate_requested,
        "client_certificate_authorities": list(detail.client_certificate_authorities),
        "ocsp_staple": detail.ocsp_staple,
        "ocsp_this_update": _time(detail.ocsp_this_update_ns),
        "ocsp_next_update": _time(detail.ocsp_next_update_ns),
        "enumeration": _enumeration(detail.enumeration) if detail.enumeration is not None else None,
    }


def _enumeration(found: TlsEnumeration) -> TlsEnumerationJson:
    return {
        "versions": [_version_taken(one) for one in found.versions],
        "complete": found.complete,
        "connections": found.connections,
    }


def _version_taken(one: TlsVersionTaken) -> TlsVersionTakenJson:
    known = {"server": "server", "client": "client"}
    return {
        "version": one.version,
        "accepted": one.accepted,
        "ciphers": list(one.ciphers),
        "preference": cast(Any, known.get(one.preference or "")),
        "complete": one.complete,
        "reason": one.reason,
    }


def _hop(hop: HttpHop) -> HttpHopJson:
    return {
        "url": hop.url,
        "method": hop.method,
        "status": hop.status,
        "location": hop.location,
        "address": hop.address,
        "port": hop.port,
        "version": hop.version,
        "tls_verified": hop.tls_verified,
        "phases": _phases(hop.phases),
    }


def _phases(phases: HttpPhases) -> HttpPhasesJson:
    return {
        "dns_ms": _ms(phases.dns_ms),
        "connect_ms": _ms(phases.connect_ms),
        "tls_ms": _ms(phases.tls_ms),
        "first_byte_ms": _ms(phases.first_byte_ms),
        "transfer_ms": _ms(phases.transfer_ms),
        "total_ms": _ms(phases.total_ms),
        "proxy_ms": _ms(phases.proxy_ms),
        "send_ms": _ms(phases.send_ms),
        "redirects_ms": _ms(phases.redirects_ms),
    }


def _http(detail: HttpDetail, parse: ParseCertificate, at: str) -> HttpDetailJson:
    body, body_hex = _bytes(detail.body)
    return {
        "url": detail.url,
        "method": detail.method,
        "version": detail.version,
        "status": detail.status,
        "reason": detail.reason,
        "headers": [{"name": name, "value": value} for name, value in detail.headers],
        "body_size": detail.body_size,
        "body": body,
        "body_hex": body_hex,
        "body_truncated": detail.body_truncated,
        "location": detail.location,
        "phases": _phases(detail.phases),
        "tls": _tls(detail.tls, parse, at) if detail.tls else None,
        "effective_url": detail.effective_url,
        "effective_address": detail.effective_address,
        "redirects": [_hop(hop) for hop in detail.redirects],
        "head_size": detail.head_size,
        "sent_size": detail.sent_size,
        "received_size": detail.received_size,
        "content_length": detail.content_length,
        "content_encoding": detail.content_encoding,
        "proxy": detail.proxy,
        "notes": list(detail.notes),
    }

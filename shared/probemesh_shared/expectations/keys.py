"""The literal table of what may be expected: key, value, kinds, and who judges it. Pure.

The help page, the reference, the command line's refusals and the agents' judgement all come from it. A key
whose judge is :data:`INSIDE` for a kind needs more than a finished measurement holds (a whole body, a whole
datagram): that kind judges each attempt itself, with the forms of :mod:`probemesh_shared.expectations`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from probemesh_shared.expectations import judging as j
from probemesh_shared.expectations import values as v
from probemesh_shared.model import Measurement
from probemesh_shared.words import DnssecStatus, FailureKind, Kind

Judge = Callable[[Measurement, Any], str | None]


def INSIDE(row: Measurement, value: object) -> str | None:
    """The kind itself has judged it, attempt by attempt."""
    return None


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``excuses``: failures, kind by kind, that are what was expected where the judge says so.
    ``wants_failure``: whether this value asks for one of a name or a port. ``forbids``: it says what must not
    be there, at any address."""

    name: str
    value: v.Value[Any]
    judges: Mapping[Kind, Judge]
    help: str
    example: str
    excuses: frozenset[FailureKind] = frozenset()
    forbids: bool = False
    wants_failure: Callable[[Any], bool] = lambda value: False

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(self.judges)


_ANY = (Kind.ICMP, Kind.DNS, Kind.TCP, Kind.UDP, Kind.TLS, Kind.HTTP)
_K = FailureKind
_CLOSED = frozenset({_K.REFUSED, _K.TIMEOUT, _K.UNREACHABLE, _K.PROHIBITED})
# fmt: off
_RCODES = (
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE", "BADVERS",
)
# fmt: on


def _any(judge: Judge) -> dict[Kind, Judge]:
    return dict.fromkeys(_ANY, judge)


def _tls(judge: Judge) -> dict[Kind, Judge]:
    return {Kind.TLS: judge, Kind.HTTP: judge}


_ALL = (
    Key("rtt-max", v.MILLISECONDS, _any(j.rtt_max), "longest median round trip", "rtt-max=20ms"),
    Key("rtt-min", v.MILLISECONDS, _any(j.rtt_min), "shortest median round trip", "rtt-min=5ms"),
    Key("loss-max", v.PERCENT, _any(j.loss_max), "share of samples that may be lost", "loss-max=0%"),
    Key(
        "reply-ttl-min",
        v.count(255),
        {Kind.ICMP: j.reply_ttl_min, Kind.UDP: j.reply_ttl_min},
        "lowest TTL or hop limit an answer may arrive with",
        "reply-ttl-min=50",
    ),
    Key(
        "answer",
        v.NEEDLE,
        {Kind.DNS: j.dns_answer, Kind.TCP: j.tcp_answer, Kind.UDP: INSIDE},
        "dns: a value among the answers; tcp, udp: TEXT or hex: in what comes back",
        "answer=192.0.2.1",
    ),
    Key(
        "answer-not",
        v.NEEDLE,
        {Kind.DNS: j.dns_answer_not},
        "no answer has this value",
        "answer-not=192.0.2.9",
        forbids=True,
    ),
    Key(
        "address",
        v.ADDRESS,
        {Kind.DNS: j.dns_address},
        "an address of the name, in a climb too: what the host's own resolver says",
        "address=2001:db8::1",
    ),
    Key(
        "rcode",
        v.words(*_RCODES, upper=True),
        {Kind.DNS: j.dns_rcode},
        "any of these rcodes; NXDOMAIN is then no failure",
        "rcode=NXDOMAIN",
        frozenset({_K.NO_SUCH_NAME, _K.NAME_SERVER_FAILED}),
        wants_failure=lambda rcodes: set(rcodes) != {"NOERROR"},
    ),
    Key(
        "authority",
        v.TEXT,
        {Kind.DNS: j.dns_authority},
        "a value among the records of the authority section",
        "authority=ns1.example.org",
    ),
    Key(
        "additional",
        v.TEXT,
        {Kind.DNS: j.dns_additional},
        "a value among those of the additional section",
        "additional=192.0.2.53",
    ),
    Key("answers-min", v.count(10_000), {Kind.DNS: j.dns_answers_min}, "fewest answers", "answers-min=2"),
    Key(
        "answers-max",
        v.count(10_000),
        {Kind.DNS: j.dns_answers_max},
        "most answers; with 0 a name without such records is no failure",
        "answers-max=0",
        frozenset({_K.NO_ADDRESS}),
        wants_failure=lambda most: most == 0,
    ),
    Key("ttl-min", v.TTL, {Kind.DNS: j.dns_ttl_min}, "lowest TTL of the answers", "ttl-min=300s"),
    Key(
        "flag",
        v.flags("aa", "tc", "rd", "ra", "ad", "cd"),
        {Kind.DNS: j.dns_flag},
        "all of these flags are set",
        "flag=aa,ad",
    ),
    Key(
        "dnssec",
        v.words(*DnssecStatus),
        {Kind.DNS: j.dns_dnssec},
        "any of validated, signed, unsigned, bogus: what the answer says (with --dnssec)",
        "dnssec=validated",
    ),
    Key(
        "banner",
        v.NEEDLE,
        {Kind.TCP: j.tcp_banner},
        "TEXT or hex: in the server's first words",
        "banner=SSH-2.0",
    ),
    Key(
        "state",
        v.words("open", "closed", "filtered", "open-filtered"),
        {Kind.TCP: j.state, Kind.UDP: j.state},
        "the port is in any of these states; closed is then no failure",
        "state=closed,filtered",
        _CLOSED,
        wants_failure=lambda states: set(states) != {"open"},
    ),
    Key(
        "tls-version",
        v.versions("1.0", "1.1", "1.2", "1.3"),
        _tls(j.tls_version),
        "any of these versions, or at least the one before +",
        "tls-version=1.2+",
    ),
    Key("cipher", v.words(), _tls(j.tls_cipher), "any of these ciphers", "cipher=TLS_AES_256_GCM_SHA384"),
    Key("alpn", v.words(), _tls(j.tls_alpn), "any of these protocols agreed on, or none", "alpn=h2"),
    Key(
        "expires-in",
        v.DURATION,
        _tls(j.tls_expires_in),
        "shortest remaining life of the certificate",
        "expires-in=30d",
    ),
    Key("verified", v.YES, _tls(j.tls_verified), "whether the certificate verifies", "verified=yes"),
    Key(
        "ocsp",
        v.words("none", "good", "revoked", "unknown", "malformed"),
        {Kind.TLS: j.tls_ocsp},
        "any of these staples (with --ocsp)",
        "ocsp=good",
    ),
    Key(
        "fingerprint",
        v.FINGERPRINT,
        _tls(j.tls_fingerprint),
        "SHA-256 of the certificate",
        f"fingerprint={'ab' * 32}",
    ),
    Key(
        "status",
        v.STATUSES,
        {Kind.HTTP: j.http_status},
        "any of these statuses or ranges, in place of 200-399",
        "status=200-299,404",
        frozenset({_K.STATUS_UNEXPECTED}),
    ),
    Key("body", v.NEEDLE, {Kind.HTTP: INSIDE}, "TEXT or hex: in the body's first 1 MiB", "body=ready"),
    Key(
        "body-not",
        v.NEEDLE,
        {Kind.HTTP: INSIDE},
        "TEXT or hex: that must not be there",
        "body-not=error",
        forbids=True,
    ),
    Key(
        "header",
        v.HEADER,
        {Kind.HTTP: j.http_header},
        "TEXT in that header, without case",
        "header=Content-Type: json",
    ),
    Key(
        "json",
        v.JSON,
        {Kind.HTTP: INSIDE},
        "PATH=VALUE: what the body's JSON says there",
        "json=status.ready=true",
    ),
    Key(
        "http-version",
        v.versions("1.0", "1.1", "2", "3"),
        {Kind.HTTP: j.http_version},
        "1.1 or 2",
        "http-version=2",
    ),
    Key("size-max", v.SIZE, {Kind.HTTP: INSIDE}, "largest body, in bytes", "size-max=64KiB"),
    Key(
        "redirect",
        v.TEXT,
        {Kind.HTTP: j.http_redirect},
        "where it redirects to; a * at the end stands for anything",
        "redirect=https://example.org/*",
    ),
)

#: Every key by its name, in the order of the help page.
KEYS: Mapping[str, Key] = MappingProxyType({key.name: key for key in _ALL})

"""Whether one finished measurement is as expected. Pure; each judge says in words what is not, or None.

A judge sees the row as it was measured. Where its outcome is not ``ok`` an expectation about that very
failure has set it aside before (``rcode=NXDOMAIN``): its samples' times then count as those of an answer.
"""

import hashlib
import ipaddress
from collections.abc import Collection, Iterable

from probemesh_shared import stats
from probemesh_shared.escape import escape, escape_bytes
from probemesh_shared.expectations.values import (
    Header,
    Needle,
    Versions,
    spell_ranges,
    spell_seconds,
    version_word,
)
from probemesh_shared.hosts import is_address
from probemesh_shared.model import (
    DnsDetail,
    DnsRecord,
    HttpDetail,
    Measurement,
    PortRange,
    TcpDetail,
    TlsDetail,
    UdpDetail,
)
from probemesh_shared.words import DnssecStatus, FailureKind, Kind, Outcome

_KEPT_ANSWER, _KEPT_BANNER = 512, 256  # of TcpDetail, at most
_SHOWN = 5  # values listed in one sentence


# --- any kind -----------------------------------------------------------------------------------------


def _median_ms(row: Measurement) -> float | None:
    counted = (Outcome.OK, row.outcome)
    times = [s.rtt_ms for s in row.samples if s.outcome in counted and s.rtt_ms is not None]
    found = stats.round_trips(times)
    return found.median_ms if found else None


def _ms(value: float) -> str:
    return f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"


def rtt_max(row: Measurement, most: float) -> str | None:
    """A time that is not known (a SYN was lost) is not within bounds."""
    median = _median_ms(row)
    if median is None:
        return f"no round trip is known, expected at most {_ms(most)}"
    return None if median <= most else f"median RTT {_ms(median)}, expected at most {_ms(most)}"


def rtt_min(row: Measurement, least: float) -> str | None:
    median = _median_ms(row)
    if median is None:
        return f"no round trip is known, expected at least {_ms(least)}"
    return None if median >= least else f"median RTT {_ms(median)}, expected at least {_ms(least)}"


def loss_max(row: Measurement, most: float) -> str | None:
    found = stats.of(row.samples)
    if found.loss_ratio is None or found.loss_ratio <= most:
        return None
    return f"{found.lost} of {found.sent} lost ({found.loss_ratio:.0%}), expected at most {most * 100:.4g} %"


def reply_ttl_min(row: Measurement, least: int) -> str | None:
    ttls = [sample.ttl for sample in row.samples if sample.ttl is not None]
    if not ttls:
        return f"the TTL of the answers is not known here, expected at least {least}"
    return None if min(ttls) >= least else f"an answer with TTL {min(ttls)}, expected at least {least}"


# --- dns ----------------------------------------------------------------------------------------------


def is_resolving(row: Measurement) -> bool:
    """The ladder's first rung: the host's own resolver was asked for addresses, no name server by us."""
    detail = row.detail
    return isinstance(detail, DnsDetail) and detail.system and detail.server is None


def same_value(found: str, wanted: str) -> bool:
    """Addresses canonically, names without case or final dot, the rest with its blanks and quotes as one."""
    if is_address(wanted):
        return is_address(found) and ipaddress.ip_address(found) == ipaddress.ip_address(wanted)
    plain, other = (_plain(text) for text in (found, wanted))
    return plain == other or plain.replace('"', "") == other


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).removesuffix(".")


def _listed(values: Iterable[str]) -> str:
    found = [escape(value, 60) for value in values]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (", ".join(found[:_SHOWN]) or "nothing") + more


def _dns(row: Measurement) -> DnsDetail:
    return row.detail if isinstance(row.detail, DnsDetail) else DnsDetail()


def _section(records: Collection[DnsRecord], wanted: str, words: str) -> str | None:
    if any(same_value(record.value, wanted) for record in records):
        return None
    return f"{words} {_listed(record.value for record in records)}, expected {escape(wanted, 80)} among it"


def dns_answer(row: Measurement, wanted: Needle) -> str | None:
    return _section(_dns(row).answers, wanted.text, "answered")


def dns_answer_not(row: Measurement, unwanted: Needle) -> str | None:
    if not any(same_value(record.value, unwanted.text) for record in _dns(row).answers):
        return None
    return f"{escape(unwanted.text, 80)} is among the answers, expected not to be"


def dns_authority(row: Measurement, wanted: str) -> str | None:
    return _section(_dns(row).authority, wanted, "authority")


def dns_additional(row: Measurement, wanted: str) -> str | None:
    return _section(_dns(row).additional, wanted, "additional")


def dns_dnssec(row: Measurement, wanted: tuple[str, ...]) -> str | None:
    found = _dns(row).dnssec or DnssecStatus.UNKNOWN
    return None if found in wanted else f"the answer is {found}, expected {' or '.join(wanted)}"


def dns_address(row: Measurement, wanted: str) -> str | None:
    detail = _dns(row)
    records = [record.value for record in detail.answers if record.type in ("A", "AAAA")]
    found = list(detail.system_addresses) if is_resolving(row) else records
    if any(same_value(value, wanted) for value in found):
        return None
    return f"the name has {_listed(found)}, expected {wanted} among it"


def dns_rcode(row: Measurement, wanted: tuple[str, ...]) -> str | None:
    rcode = _dns(row).rcode or "no rcode"
    return None if rcode in wanted else f"rcode {escape(rcode, 20)}, expected {' or '.join(wanted)}"


def dns_answers_min(row: Measurement, least: int) -> str | None:
    count = len(_dns(row).answers)
    return None if count >= least else f"{count} records in the answer, expected at least {least}"


def dns_answers_max(row: Measurement, most: int) -> str | None:
    count = len(_dns(row).answers)
    return None if count <= most else f"{count} records in the answer, expected at most {most}"


def dns_ttl_min(row: Measurement, least: float) -> str | None:
    ttls = [record.ttl_s for record in _dns(row).answers]
    if ttls and min(ttls) >= least:
        return None
    found = f"a TTL of {min(ttls)} s" if ttls else "no record with a TTL"
    return f"{found}, expected at least {least:.0f} s"


def dns_flag(row: Measurement, wanted: tuple[str, ...]) -> str | None:
    missing = [flag for flag in wanted if flag not in _dns(row).flags]
    found = " ".join(_dns(row).flags) or "none"
    return None if not missing else f"flags {escape(found, 60)}, expected {' '.join(missing)} among them"


# --- tcp, udp -----------------------------------------------------------------------------------------


def _banner(row: Measurement) -> bytes | None:
    return row.detail.banner if isinstance(row.detail, TcpDetail) else None


def tcp_banner(row: Measurement, wanted: Needle) -> str | None:
    banner = _banner(row)
    if banner is None:
        return f"no banner came, expected {escape(wanted.text, 80)} in it"
    if wanted.data in banner:
        return None
    return f"banner {escape_bytes(banner, 60)}, expected {escape(wanted.text, 80)} in it"


def tcp_answer(row: Measurement, wanted: Needle) -> str | None:
    """What followed our bytes, else the banner. The kind looks further than what is kept of either."""
    answer = row.detail.answer if isinstance(row.detail, TcpDetail) else None
    if answer is None and len(_banner(row) or b"") >= _KEPT_BANNER:
        return None
    if answer is None:
        return tcp_banner(row, wanted)
    if wanted.data in answer or len(answer) >= _KEPT_ANSWER:
        return None
    return f"answer {escape_bytes(answer, 60)}, expected {escape(wanted.text, 80)} in it"


def port_state(row: Measurement) -> str:
    """``open``, ``closed``, ``filtered`` or ``open-filtered``; else the outcome, which is none of these."""
    if row.outcome is Outcome.OK:
        return "open"
    if isinstance(row.detail, TcpDetail | UdpDetail) and row.detail.state:
        return row.detail.state.replace("|", "-")
    if row.failure is not None and row.failure.kind is FailureKind.REFUSED:
        return "closed"
    if row.outcome is Outcome.TIMEOUT:
        return "filtered" if row.kind is Kind.TCP else "open-filtered"
    return "filtered" if row.outcome in (Outcome.UNREACHABLE, Outcome.PROHIBITED) else str(row.outcome)


def state(row: Measurement, wanted: tuple[str, ...]) -> str | None:
    found = port_state(row)
    return None if found in wanted else f"the port is {found}, expected {' or '.join(wanted)}"


# --- tls ----------------------------------------------------------------------------------------------


def _tls(row: Measurement) -> TlsDetail | None:
    detail = row.detail.tls if isinstance(row.detail, HttpDetail) else row.detail
    return detail if isinstance(detail, TlsDetail) else None


def _word(found: str | None, wanted: tuple[str, ...], what: str) -> str | None:
    shown = found or "none"
    if shown.casefold() in (word.casefold() for word in wanted):
        return None
    return f"{what} {escape(shown, 60)}, expected {' or '.join(wanted)}"


def tls_version(row: Measurement, wanted: Versions) -> str | None:
    detail = _tls(row)
    found = detail.version if detail is not None else None
    if found is not None and wanted.allows(found):
        return None
    what = f"TLS {version_word(found)}" if found else "no TLS"
    return f"{escape(what, 20)}, expected {' or '.join(wanted.words)}{' or later' * wanted.or_later}"


def tls_cipher(row: Measurement, wanted: tuple[str, ...]) -> str | None:
    detail = _tls(row)
    return _word(detail.cipher if detail else None, wanted, "cipher")


def tls_alpn(row: Measurement, wanted: tuple[str, ...]) -> str | None:
    detail = _tls(row)
    return _word(detail.alpn if detail else None, wanted, "ALPN")


def tls_expires_in(row: Measurement, least_s: float) -> str | None:
    """Of the leaf, counted from the measurement's own start."""
    from probemesh_shared.identity.der import read_der  # loads ssl

    detail = _tls(row)
    if detail is None or not detail.chain:
        return f"no certificate was seen, expected one valid for {spell_seconds(least_s)}"
    try:
        left_s = (read_der(detail.chain[0]).not_after_ns - row.started_ns) / 1e9
    except ValueError:
        return "the certificate's dates cannot be read"
    if left_s >= least_s:
        return None
    when = f"expires in {left_s / 86_400:.1f} days" if left_s >= 0 else "has expired"
    return f"the certificate {when}, expected to be valid for {spell_seconds(least_s)}"


def tls_verified(row: Measurement, wanted: bool) -> str | None:
    detail = _tls(row)
    found = detail.verified if detail is not None else None
    if found is wanted:
        return None
    if found is None:
        return "no certificate was judged"
    why = f" ({escape(detail.verify_error, 80)})" if detail and detail.verify_error else ""
    return f"the certificate {'verifies' if found else f'does not verify{why}'}, expected otherwise"


def tls_ocsp(row: Measurement, wanted: tuple[str, ...]) -> str | None:
    detail = _tls(row)
    return _word(detail.ocsp_staple or "unseen" if detail else None, wanted, "OCSP staple")


def tls_fingerprint(row: Measurement, wanted: str) -> str | None:
    detail = _tls(row)
    if detail is None or not detail.chain:
        return f"no certificate was seen, expected {wanted[:16]}…"
    found = hashlib.sha256(detail.chain[0]).hexdigest()
    return None if found == wanted else f"the certificate is {found[:16]}…, expected {wanted[:16]}…"


# --- http ---------------------------------------------------------------------------------------------


def _http(row: Measurement) -> HttpDetail:
    return row.detail if isinstance(row.detail, HttpDetail) else HttpDetail()


def http_status(row: Measurement, wanted: tuple[PortRange, ...]) -> str | None:
    found = _http(row).status or 0
    if any(span.first <= found <= span.last for span in wanted):
        return None
    return f"status {found or 'unknown'}, expected {spell_ranges(wanted)}"


def http_header(row: Measurement, wanted: Header) -> str | None:
    name = wanted.name.casefold()
    values = [value for key, value in _http(row).headers if key.casefold() == name]
    if not values:
        return f"no header {wanted.name}, expected one"
    if any(wanted.value.casefold() in value.casefold() for value in values):
        return None
    return f"header {wanted.name} is {_listed(values)}, expected {escape(wanted.value, 80)} in it"


def http_version(row: Measurement, wanted: Versions) -> str | None:
    found = _http(row).version
    if found is not None and wanted.allows(found):
        return None
    shown = f"HTTP/{version_word(found)}" if found else "no HTTP version"
    return f"{escape(shown, 20)}, expected {' or '.join(wanted.words)}{' or later' * wanted.or_later}"


def http_redirect(row: Measurement, wanted: str) -> str | None:
    """Equal, or beginning so where ``wanted`` ends in ``*``. Of redirects that were followed the last one."""
    detail = _http(row)
    found = detail.effective_url if detail.redirects else detail.location
    if found is None:
        return f"no redirect, expected one to {escape(wanted, 120)}"
    matches = found.startswith(wanted[:-1]) if wanted.endswith("*") else found == wanted
    return None if matches else f"redirected to {escape(found, 120)}, expected {escape(wanted, 120)}"

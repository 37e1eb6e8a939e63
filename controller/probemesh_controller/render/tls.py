"""What TLS was seen, under the table of ``--kind tls``: the handshake, the certificate to compare, the chain
judged, the staple, and what the server takes. The same seen from several vantage points is told once."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from probemesh_shared.chainjudge import Judged, chain_problems, days_left
from probemesh_shared.escape import escape
from probemesh_shared.jsonshape import CertificateJson
from probemesh_shared.model import Measurement, TargetResult, TlsDetail, TlsEnumeration, TlsVersionTaken
from probemesh_shared.moments import time_text
from probemesh_shared.words import Kind

from probemesh_controller.render.text import counted, pad, paint, wrap

_LABEL = 13
_GROUPS_MOST = 8
_WEAK = re.compile("NULL|EXPORT|RC4|RC2|DES|IDEA|SEED|MD5|_anon_")


def tls_lines(result: TargetResult, width: int, color: bool) -> list[str]:
    """Nothing where other kinds were asked for beside tls, or by the ladder."""
    kinds = {row.kind for vantage in result.vantages for row in vantage.measurements}
    if Kind.TLS not in kinds or not kinds <= {Kind.TLS, Kind.DNS}:
        return []
    groups = list(_groups(result).values())
    lines: list[str] = []
    for seers, row, detail in groups[:_GROUPS_MOST]:
        shown = seers if len(groups) > 1 else [agent.partition(" at ")[0] for agent in seers]
        head = _head(row, list(dict.fromkeys(shown)), color)
        lines += ["", head] if lines else [head]
        lines += _detail_lines(row, detail, width)
    if len(groups) > _GROUPS_MOST:
        lines.append(f"and {len(groups) - _GROUPS_MOST} more, see -o json")
    return lines


def _head(row: Measurement, seers: Sequence[str], color: bool) -> str:
    return paint(escape(f"TLS of {row.target}, seen by {', '.join(seers)}", 400), "bold", color)


def _groups(result: TargetResult) -> dict[object, tuple[list[str], Measurement, TlsDetail]]:
    found: dict[object, tuple[list[str], Measurement, TlsDetail]] = {}
    for vantage in result.vantages:
        for row in vantage.measurements:
            detail = row.detail
            if isinstance(detail, TlsDetail) and (detail.chain or detail.enumeration or detail.alert):
                key = (row.target, _timeless(detail))
                seers = found.setdefault(key, ([], row, detail))[0]
                seers.append(f"{vantage.agent} at {row.address}")
    return found


def _timeless(detail: TlsDetail) -> TlsDetail:
    """Without what it took to see it."""
    taken = detail.enumeration
    return replace(
        detail,
        tcp_ms=None,
        handshake_ms=None,
        enumeration=replace(taken, connections=0) if taken is not None else None,
    )


def _detail_lines(row: Measurement, detail: TlsDetail, width: int) -> list[str]:
    from probemesh_shared.certificates import parse_certificate  # only where there is one to show

    at = time_text(row.started_ns)
    chain = [parse_certificate(der) for der in detail.chain]
    told = [
        *_handshake(detail),
        *_certificate(chain, at),
        *_chain(chain, detail, at),
        *_staple(detail),
        *_client(detail),
        *_taken(detail.enumeration),
    ]
    lines = []
    for label, text in told:
        first, *rest = wrap(text, width, " " * (_LABEL + 2)) or [""]
        lines += [f"  {pad(escape(label, 40), _LABEL)}{first.lstrip()}", *rest]
    return lines


_Told = Iterator[tuple[str, str]]


def _handshake(detail: TlsDetail) -> _Told:
    if detail.version is not None:
        parts = [detail.version, detail.cipher, detail.key_exchange]
        alpn = f"ALPN {detail.alpn}" if detail.alpn else "no ALPN"
        after = f", after STARTTLS ({detail.starttls})" if detail.starttls is not None else ""
        yield "handshake", ", ".join([*(part for part in parts if part), alpn]) + after
    if detail.server_name is not None:
        yield "asked for", detail.server_name
    if detail.alert is not None:
        yield "alert", detail.alert


def _certificate(chain: Sequence[CertificateJson], at: str) -> _Told:
    if not chain:
        return
    leaf = chain[0]
    if leaf["error"] is not None:
        yield "certificate", leaf["error"]
        return
    names = ", ".join(leaf["names"][:8]) + (", …" if len(leaf["names"]) > 8 else "")
    yield "certificate", f"{leaf['subject'] or 'without a subject'}; names: {names or 'none'}"
    left = days_left([leaf], at)
    dates = f"{(leaf['not_before'] or '')[:10]} to {(leaf['not_after'] or '')[:10]}"
    remaining = "expired" if left is not None and left < 0 else f"{counted(left or 0, 'day')} left"
    yield "", f"{leaf['key_type']}, {dates} ({remaining}), issued by {leaf['issuer']}"
    yield "", f"sha256 {leaf['fingerprint_sha256']}"
    yield "", f"pin sha256//{leaf['spki_sha256']}"


def _chain(chain: Sequence[CertificateJson], detail: TlsDetail, at: str) -> _Told:
    if not chain:
        return
    judged = {True: "verified", False: f"does not verify: {detail.verify_error} ({detail.verify_code})"}
    verdict = judged.get(bool(detail.verified)) if detail.verified is not None else "not judged"
    left = days_left(chain, at)
    many = len(chain) > 1 and left is not None and left >= 0
    soonest = f", the first expires in {counted(left or 0, 'day')}" if many else ""
    yield "chain", f"{counted(len(chain), 'certificate')}, {verdict}{soonest}"
    for problem in chain_problems(
        chain, Judged(detail.verify_code, detail.server_name, at, detail.ocsp_staple)
    ):
        sign = "✕" if problem["severity"] == "problem" else "·"
        whose = f"certificate {problem['certificate'] + 1}" if problem["certificate"] else "the leaf"
        yield "", f"{sign} {whose}: {problem['text']} ({problem['code']})"


def _staple(detail: TlsDetail) -> _Told:
    if detail.ocsp_staple is not None:
        text = detail.ocsp_staple
        if detail.ocsp_this_update_ns is not None:
            text += f", of {time_text(detail.ocsp_this_update_ns)[:19]}Z"
        if detail.ocsp_next_update_ns is not None:
            text += f", next due {time_text(detail.ocsp_next_update_ns)[:19]}Z"
        yield "OCSP staple", text


def _client(detail: TlsDetail) -> _Told:
    if detail.client_certificate_requested:
        names = "; ".join(detail.client_certificate_authorities)
        yield "client", f"a certificate is asked for; authorities taken: {names or 'not told'}"


def _taken(found: TlsEnumeration | None) -> _Told:
    if found is None:
        return
    for one in found.versions:
        yield one.version, _version(one)
        for cipher in one.ciphers:
            yield "", f"{cipher} (weak)" if _WEAK.search(cipher) else cipher
    if not found.complete:
        yield "", f"not complete: {counted(found.connections, 'connection')} were made, see the reasons above"


def _version(one: TlsVersionTaken) -> str:
    if not one.accepted:
        return f"{'not taken' if one.accepted is False else 'not known'}: {one.reason or 'no reason told'}"
    order = {"server": ", in its order of preference", "client": ", in whatever order the client prefers"}
    rest = "" if one.complete else f"; perhaps more: {one.reason}"
    return f"{counted(len(one.ciphers), 'cipher')}{order.get(one.preference or '', '')}{rest}"

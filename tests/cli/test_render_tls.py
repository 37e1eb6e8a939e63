"""What stands under the table of ``--kind tls``, and that a stranger's words stay words."""

from dataclasses import replace

from probemesh_controller.render.table import render
from probemesh_shared.model import (
    Measurement,
    Sample,
    TargetResult,
    TlsDetail,
    TlsEnumeration,
    TlsVersionTaken,
    Vantage,
)
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Kind, Outcome

from tests.servers.tls_pki import NOW, make

AT = int(NOW.timestamp()) * 10**9  # when the certificates were made, too
ROOT = make("Root", authority=True)
LEAF = ROOT.issue("evil\x1b[31m", "web.example")
DETAIL = TlsDetail(
    version="TLSv1.3",
    cipher="TLS_AES_128_GCM_SHA256",
    alpn="h2",
    key_exchange="x25519",
    server_name="web.example",
    chain=(LEAF.der,),
    verified=False,
    verify_code=20,
    verify_error="unable to get local issuer certificate",
    handshake_ms=3.0,
    client_certificate_requested=True,
    client_certificate_authorities=("CN=\x1b]0;x\x07",),
    ocsp_staple="good",
    ocsp_this_update_ns=AT,
    enumeration=TlsEnumeration(
        (
            TlsVersionTaken("TLSv1.2", True, ("TLS_RSA_WITH_RC4_128_SHA", "TLS_X"), "server", True),
            TlsVersionTaken("TLSv1.1", False, complete=True, reason="it answers with the alert \x1b"),
            TlsVersionTaken("TLSv1", reason="the run's deadline came first"),
        ),
        connections=7,
    ),
)


def row(detail: TlsDetail, kind: Kind = Kind.TLS) -> Measurement:
    sample = Sample(0, 0.0, detail.handshake_ms, Outcome.OK)
    return Measurement(kind, 0, "web.example:443", "192.0.2.7", 443, Outcome.OK, AT, (sample,), detail=detail)


def shown(*details: TlsDetail, kinds: tuple[Kind, ...] = (Kind.TLS,)) -> str:
    vantages = tuple(
        Vantage(f"v{number}", None, Outcome.OK, measurements=tuple(row(detail, kind) for kind in kinds))
        for number, detail in enumerate(details)
    )
    return render([TargetResult(parse_target("web.example:443"), AT, vantages)], 100)


def test_the_same_is_told_once_and_everything_is_there() -> None:
    assert DETAIL.enumeration is not None
    later = replace(DETAIL, handshake_ms=9.0, enumeration=replace(DETAIL.enumeration, connections=8))
    text = shown(DETAIL, later)
    assert "TLS of web.example:443, seen by v0, v1" in text
    for words in (
        "TLSv1.3, TLS_AES_128_GCM_SHA256, x25519, ALPN h2",
        "names: web.example",
        "90 days left",
        "asked for    web.example",
        LEAF.fingerprint,
        "pin sha256//",
        "does not verify: unable to get local issuer certificate (20)",
        "✕ the leaf: issued by CN=Root, which was not sent",
        "(missing-intermediate)",
        "OCSP staple  good, of ",
        "a certificate is asked for",
        "TLSv1.2      2 ciphers, in its order of preference",
        "TLS_RSA_WITH_RC4_128_SHA (weak)",
        "TLSv1.1      not taken: it answers",
        "TLSv1        not known: the run's deadline came first",
        "not complete: 7 connections",
    ):
        assert words in text, words
    assert text.count(LEAF.fingerprint) == 1


def test_what_differs_is_told_apart() -> None:
    other = replace(DETAIL, chain=(make("other", "web.example").der,))
    text = shown(DETAIL, other)
    assert "seen by v0 at 192.0.2.7\n" in text and "seen by v1 at 192.0.2.7\n" in text


def test_no_word_of_a_stranger_steers_the_terminal() -> None:
    text = shown(DETAIL, replace(DETAIL, cipher="\x1b[2J", alpn="\u202e", alert="\x9b"))
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(text)


def test_a_ladder_stays_as_it_is() -> None:
    assert "seen by" not in shown(DETAIL, kinds=(Kind.TCP, Kind.TLS))

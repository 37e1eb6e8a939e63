"""Options of the kind ``tls``. Reads the files that they name."""

import ssl
from dataclasses import dataclass, replace
from typing import TypeVar

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import HttpSpec, Options, TlsSpec
from probemesh_shared.words import StartTls

from probemesh_controller.cli.specs.files import read_file
from probemesh_controller.cli.specs.values import one_of

_S = TypeVar("_S", TlsSpec, HttpSpec)

VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_CA_MOST, _CERT_MOST, _KEY_MOST = 256 << 10, 64 << 10, 32 << 10
_CIPHER_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_!@=:.,")
#: Enumerating takes a connection for each cipher, one after the other.
ENUMERATION_S = 60.0


@dataclass(frozen=True, slots=True)
class TlsAsked:
    """As typed; None or false where an option was not given. Name, authorities and client certificate serve
    http too."""

    sni: str | None = None
    starttls: str | None = None
    tls_min: str | None = None
    tls_max: str | None = None
    ciphers: str | None = None
    alpn: str | None = None
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    enumerate: bool = False
    ocsp: bool = False

    def given(self) -> dict[str, object]:
        return {
            "--sni": self.sni,
            "--starttls": self.starttls,
            "--tls-min": self.tls_min,
            "--tls-max": self.tls_max,
            "--ciphers": self.ciphers,
            "--alpn": self.alpn,
            "--ca": self.ca,
            "--client-cert": self.client_cert,
            "--client-key": self.client_key,
            "--enumerate": self.enumerate or None,
            "--ocsp": self.ocsp or None,
        }

    def spec(self, options: Options) -> TlsSpec:
        low, high = _version("--tls-min", self.tls_min), _version("--tls-max", self.tls_max)
        if low and high and VERSIONS.index(low) > VERSIONS.index(high):
            raise InvalidRequest(f"--tls-min {low} is above --tls-max {high}")
        spec = TlsSpec(
            options,
            server_name=self.sni,
            starttls=None if self.starttls is None else one_of(StartTls, self.starttls, "--starttls"),
            min_version=low,
            max_version=high,
            ciphers=_ciphers(self.ciphers, low),
            alpn=_protocols(self.alpn) if self.alpn is not None else (),
            enumerate=self.enumerate,
            ocsp=self.ocsp,
        )
        return self.trusting(spec)

    def trusting(self, spec: _S) -> _S:
        """``spec`` with whom it trusts, and as whom it goes. Reads files."""
        trusted = authorities(self.ca) if self.ca is not None else None
        certificate, key = _client(self.client_cert, self.client_key)
        return replace(spec, ca=trusted, client_cert=certificate, client_key=key)


def _version(option: str, text: str | None) -> str | None:
    """``1.2`` and ``TLSv1.2`` alike."""
    if text is None:
        return None
    found = [one for one in VERSIONS if text.lower() in (one.lower(), one.lower().removeprefix("tlsv"))]
    if text in ("1.0", "TLSv1.0"):
        found = ["TLSv1"]
    if not found:
        raise InvalidRequest(f"{option} '{escape(text, 40)}' is no version of TLS", ", ".join(VERSIONS))
    return found[0]


def _ciphers(text: str | None, low: str | None) -> str | None:
    if text is None:
        return None
    if not text or len(text) > 4096 or not set(text) <= _CIPHER_CHARACTERS:
        raise InvalidRequest(
            f"--ciphers '{escape(text, 60)}' is no cipher list", "as openssl ciphers: ECDHE+AESGCM:!RSA"
        )
    if any(word.startswith("TLS_") for word in text.split(":")) or low == "TLSv1.3":
        raise InvalidRequest(
            "--ciphers chooses for TLS 1.2 and before: the suites of 1.3 cannot be chosen here",
            "--enumerate shows which of them a server takes",
        )
    return text


def _protocols(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not all(name.isascii() and name.isprintable() and 1 <= len(name) <= 255 for name in names):
        raise InvalidRequest(f"--alpn '{escape(text, 60)}' names no protocols", "for example h2,http/1.1")
    if len(names) > 32:
        raise InvalidRequest("--alpn names too many protocols", "32 at most")
    return names


def authorities(path: str) -> bytes:
    pem = read_file("--ca", path, _CA_MOST)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise InvalidRequest(f"--ca {escape(path, 200)} holds no certificates in PEM form") from None
    return pem


def _client(certificate: str | None, key: str | None) -> tuple[bytes | None, bytes | None]:
    """Both or, with the key in the certificate's file, the one."""
    if certificate is None:
        if key is not None:
            raise InvalidRequest("--client-key needs a certificate to go with", "add --client-cert FILE")
        return None, None
    pem = read_file("--client-cert", certificate, _CERT_MOST)
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise InvalidRequest(f"--client-cert {escape(certificate, 200)} holds no certificate in PEM form")
    key_pem = read_file("--client-key", key, _KEY_MOST) if key is not None else b""
    both = pem + key_pem
    if b"PRIVATE KEY-----" not in both:
        raise InvalidRequest("--client-cert is given without its key", "add --client-key FILE")
    if b"ENCRYPTED" in both:
        raise InvalidRequest(
            "the client key is encrypted, and nobody is at an agent to type its passphrase",
            "openssl pkey -in FILE -out PLAIN, readable by you alone",
        )
    _check_pair(certificate, key)
    return pem, key_pem


def _check_pair(certificate: str, key: str | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError):
        raise InvalidRequest(
            "the client certificate and its key cannot be read, or do not belong together"
        ) from None

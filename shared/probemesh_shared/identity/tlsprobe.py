"""TLS by the standard library beside grpc, which hides what went wrong: to diagnose a link, and to fetch a
chain.

Blocking; callers use a thread. Nothing is decided by message text but OpenSSL's own error names.
"""

import contextlib
import errno
import os
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from probemesh_shared.errors import Unreachable
from probemesh_shared.identity.files import Identity
from probemesh_shared.names import split_host_port

_MAX_CHAIN = 8
#: How soon a server that refuses us closes the connection. One with its hands full closes it too, after the
#: five seconds that :mod:`probemesh_shared.rpc.grpc_setup` gives a handshake.
_REFUSED_WITHIN_S = 4.0
# X509_V_ERR_*, openssl/x509_vfy.h
_NOT_YET, _EXPIRED, _NAME = 9, 10, 62
_OTHER_CA = frozenset({2, 7, 18, 19, 20, 21, 24, 30, 31})


class Problem(Enum):
    NONE = auto()
    NAME = auto()
    REFUSED = auto()
    SILENT = auto()
    NETWORK = auto()
    NOT_TLS = auto()
    THEIRS_OTHER_CA = auto()
    THEIRS_EXPIRED = auto()
    THEIRS_NOT_YET = auto()
    THEIRS_NAME = auto()
    THEIRS = auto()
    OURS = auto()


@dataclass(frozen=True, slots=True)
class Probed:
    """``detail`` is for people."""

    problem: Problem
    detail: str = ""


_CLOSED = Probed(Problem.OURS, "it closes the connection when it sees it")


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    return context


def _load_own(context: ssl.SSLContext, identity: Identity) -> None:
    """The standard library takes keys from files only: one in memory, or a private one that is gone at
    once."""
    pem = identity.key_pem + b"\n" + identity.certificate_pem
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
        path = Path(f"/proc/self/fd/{descriptor}")
    else:
        descriptor, name = tempfile.mkstemp()
        path = Path(name)
    with os.fdopen(descriptor, "wb") as file:
        try:
            file.write(pem)
            file.flush()
            context.load_cert_chain(path)
        finally:
            if not str(path).startswith("/proc/"):
                path.unlink()


def _dial(address: str, timeout_s: float) -> socket.socket:
    host, port = split_host_port(address)
    return socket.create_connection((host, port), timeout_s)


def probe_tls(address: str, identity: Identity, server_name: str, timeout_s: float) -> Probed:
    """One handshake as grpc would make it, and one read. ``timeout_s`` is for each step.

    grpc refuses a certificate by closing the connection, without an alert. So does whoever is killed at that
    moment, or stands in between and is: it is a refusal where it happens twice.
    """
    for _ in range(2):
        began = time.monotonic()
        probed = _probe(address, identity, server_name, timeout_s)
        if probed != _CLOSED:
            return probed
        if time.monotonic() - began > _REFUSED_WITHIN_S:
            return Probed(Problem.SILENT, "it closes the connection, having found no time for it")
    return _CLOSED


def _probe(address: str, identity: Identity, server_name: str, timeout_s: float) -> Probed:
    context = _client_context()
    context.load_verify_locations(cadata=identity.ca_pem.decode("ascii"))
    try:
        _load_own(context, identity)
    except ssl.SSLError as error:
        return Probed(Problem.OURS, f"its key does not fit: {error.reason}")
    try:
        with _dial(address, timeout_s) as plain:
            probed = _handshake(context, plain, server_name)
        if probed.problem is Problem.THEIRS_NAME:
            return Probed(probed.problem, _presented(context, address, timeout_s))
        return probed
    except OSError as error:
        return _network(error)


def _presented(context: ssl.SSLContext, address: str, timeout_s: float) -> str:
    """The names in the certificate that is there instead, from our CA as well; empty where it cannot be
    had."""
    context.check_hostname = False
    try:
        with _dial(address, timeout_s) as plain, context.wrap_socket(plain) as secure:
            names: Any = (secure.getpeercert() or {}).get("subjectAltName", ())
    except OSError:
        return ""
    return ", ".join(str(value)[:256] for kind, value in names[:4] if kind == "DNS")


def _network(error: OSError) -> Probed:
    if isinstance(error, socket.gaierror):
        return Probed(Problem.NAME, "its name cannot be resolved")
    if isinstance(error, TimeoutError):
        return Probed(Problem.SILENT, "no answer in time")
    if error.errno == errno.ECONNREFUSED:
        return Probed(Problem.REFUSED, "connection refused")
    return Probed(Problem.NETWORK, error.strerror or str(error))


def _handshake(context: ssl.SSLContext, plain: socket.socket, server_name: str) -> Probed:
    try:
        secure = context.wrap_socket(plain, server_hostname=server_name)
    except ssl.SSLCertVerificationError as error:
        return _theirs(error)
    except ssl.SSLEOFError:
        return Probed(Problem.NOT_TLS, "it closes the connection during the TLS handshake")
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return _alert(error)
        return Probed(Problem.NOT_TLS, "what listens there does not speak TLS 1.3")
    except (ConnectionResetError, BrokenPipeError):
        return Probed(Problem.NOT_TLS, "it resets the connection during the TLS handshake")
    with secure:
        return _first_read(secure)


def _first_read(secure: ssl.SSLSocket) -> Probed:
    """A server that accepted us sends its SETTINGS; one that did not sends an alert, or just closes."""
    try:
        data = secure.recv(1)
    except ssl.SSLEOFError:
        data = b""
    except ssl.SSLError as error:
        return _alert(error)
    except ConnectionResetError:
        data = b""
    return Probed(Problem.NONE) if data else _CLOSED


_ALERTS = {
    "TLSV1_ALERT_UNKNOWN_CA": "it is not from the CA that is trusted there",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired by the clock there",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it is revoked",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not verify there",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it is not made for this use",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not verify there",
    "TLSV1_ALERT_ACCESS_DENIED": "access denied",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "a certificate is required",
}


def _alert(error: ssl.SSLError) -> Probed:
    reason = error.reason or "unknown"
    if reason in _ALERTS:
        return Probed(Problem.OURS, _ALERTS[reason])
    if "PROTOCOL_VERSION" in reason:
        return Probed(Problem.NOT_TLS, "it does not speak TLS 1.3")
    return Probed(Problem.NOT_TLS, f"the TLS handshake fails: {reason.lower().replace('_', ' ')}")


def _theirs(error: ssl.SSLCertVerificationError) -> Probed:
    if error.verify_code == _EXPIRED:
        return Probed(Problem.THEIRS_EXPIRED)
    if error.verify_code == _NOT_YET:
        return Probed(Problem.THEIRS_NOT_YET)
    if error.verify_code == _NAME:
        return Probed(Problem.THEIRS_NAME)
    if error.verify_code in _OTHER_CA:
        return Probed(Problem.THEIRS_OTHER_CA)
    return Probed(Problem.THEIRS, error.verify_message)


def fetch_chain(address: str, timeout_s: float) -> tuple[bytes, ...]:
    """DER certificates that a server presents, leaf first, verified by nobody. Raises
    :class:`Unreachable`."""
    context = _client_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _dial(address, timeout_s) as plain, context.wrap_socket(plain) as secure:
            return _chain(secure)
    except ssl.SSLError as error:
        raise Unreachable(f"{address} does not speak TLS 1.3", "is this the controller's port?") from error
    except OSError as error:
        raise Unreachable(f"{address} cannot be reached: {_network(error).detail}") from error


def _chain(secure: Any) -> tuple[bytes, ...]:
    """Public from Python 3.13 on; before that the same call stands on the private object."""
    if hasattr(secure, "get_unverified_chain"):
        return tuple(secure.get_unverified_chain())[:_MAX_CHAIN]
    found = secure._sslobj.get_unverified_chain() or ()
    with contextlib.suppress(AttributeError):
        return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes(1)) for one in found[:_MAX_CHAIN])
    return ()

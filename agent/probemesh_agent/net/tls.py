"""One TLS session by ``ssl.MemoryBIO``: the bytes go through a socket that stays ours, so that a reset, a
FIN, an alert and silence stay different things. Failures are told apart by OpenSSL's reason codes, never
by message text."""

import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, cast

from probemesh_shared import failures
from probemesh_shared.model import Failure
from probemesh_shared.wire.bounds import MAX_BYTES
from probemesh_shared.words import FailureKind, Origin, Stage

from probemesh_agent.env import CertificateInvalid, ProbeFailed, TlsFacts, TlsSeen
from probemesh_agent.net import tlswatch

_CHUNK = 64 * 1024
_HANDSHAKE_MOST = 1 << 20
_CHAIN_MOST = 16

Receive = Callable[[int, Stage, float], Awaitable[bytes]]
Send = Callable[[bytes, Stage, float], Awaitable[None]]

#: OpenSSL's reason for an alert of the peer (1000 + its number) to its name in RFC 8446 §6; and the
#: numbers that it has no reason for.
ALERTS: dict[str, str] = {
    "SSLV3_ALERT_UNEXPECTED_MESSAGE": "unexpected_message",
    "SSLV3_ALERT_BAD_RECORD_MAC": "bad_record_mac",
    "TLSV1_ALERT_DECRYPTION_FAILED": "decryption_failed",
    "TLSV1_ALERT_RECORD_OVERFLOW": "record_overflow",
    "SSLV3_ALERT_DECOMPRESSION_FAILURE": "decompression_failure",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "handshake_failure",
    "SSLV3_ALERT_NO_CERTIFICATE": "no_certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "bad_certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "unsupported_certificate",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "certificate_revoked",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "certificate_expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "certificate_unknown",
    "SSLV3_ALERT_ILLEGAL_PARAMETER": "illegal_parameter",
    "TLSV1_ALERT_UNKNOWN_CA": "unknown_ca",
    "TLSV1_ALERT_ACCESS_DENIED": "access_denied",
    "TLSV1_ALERT_DECODE_ERROR": "decode_error",
    "TLSV1_ALERT_DECRYPT_ERROR": "decrypt_error",
    "TLSV1_ALERT_EXPORT_RESTRICTION": "export_restriction",
    "TLSV1_ALERT_PROTOCOL_VERSION": "protocol_version",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "insufficient_security",
    "TLSV1_ALERT_INTERNAL_ERROR": "internal_error",
    "TLSV1_ALERT_INAPPROPRIATE_FALLBACK": "inappropriate_fallback",
    "TLSV1_ALERT_USER_CANCELLED": "user_canceled",
    "TLSV1_ALERT_NO_RENEGOTIATION": "no_renegotiation",
    "TLSV13_ALERT_MISSING_EXTENSION": "missing_extension",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "certificate_required",
    "TLSV1_UNSUPPORTED_EXTENSION": "unsupported_extension",
    "TLSV1_CERTIFICATE_UNOBTAINABLE": "certificate_unobtainable",
    "TLSV1_UNRECOGNIZED_NAME": "unrecognized_name",
    "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE": "bad_certificate_status_response",
    "TLSV1_BAD_CERTIFICATE_HASH_VALUE": "bad_certificate_hash_value",
    "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY": "unknown_psk_identity",
    "ALERT_120": "no_application_protocol",
    "ALERT_121": "ech_required",
}


class Session:
    """Handshake, then bytes both ways. ``receive`` and ``send`` carry ciphertext and raise ProbeFailed
    themselves."""

    def __init__(
        self, context: ssl.SSLContext, server_name: str | None, receive: Receive, send: Send
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._receive = receive
        self._send = send
        tlswatch.prepare(context)
        try:
            self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        except (ValueError, ssl.SSLError) as error:
            detail = f"{(server_name or '')[:100]!a} cannot be asked for in a handshake"
            raise ProbeFailed(failures.unsupported(Stage.TLS, detail)) from error
        self.seen = TlsSeen()
        self._ahead = b""
        tlswatch.watch(self._object, self.seen)

    async def handshake(self, deadline: float) -> None:
        taken = 0
        data = b""
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush(Stage.TLS, deadline)
            except ssl.SSLCertVerificationError as error:
                await self._flush_quietly(deadline)
                raise CertificateInvalid(
                    _handshake_failure(error, data), error.verify_code, error.verify_message
                ) from None
            except ssl.SSLError as error:
                await self._flush_quietly(deadline)
                raise ProbeFailed(_handshake_failure(error, data)) from None
            else:
                await self._flush(Stage.TLS, deadline)
                return
            data = await self._receive(_CHUNK, Stage.TLS, deadline)
            taken += len(data)
            if not data or taken > _HANDSHAKE_MOST:
                raise ProbeFailed(_cut_short(taken))
            self._incoming.write(data)

    def facts(self, handshake_ms: float) -> TlsFacts:
        cipher = self._object.cipher()
        return TlsFacts(
            version=self._object.version(),
            cipher=cipher[0] if cipher else None,
            alpn=self._object.selected_alpn_protocol(),
            chain=_tellable(_chain(self._object), self.seen),
            handshake_ms=handshake_ms,
            seen=self.seen,
        )

    async def settle(self, deadline: float) -> None:
        """Until the peer's first session ticket, or its first bytes, which :meth:`read` gives."""
        while not self.seen.tickets and not self._ahead:
            try:
                self._ahead = self._object.read(_CHUNK)
                continue
            except ssl.SSLWantReadError:
                await self._flush(Stage.TLS, deadline)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                raise ProbeFailed(_closed(Stage.TLS, "the peer closed right after the handshake")) from None
            except ssl.SSLError as error:
                raise ProbeFailed(_failure(error)) from None
            if data := await self._receive(_CHUNK, Stage.TLS, deadline):
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    async def read(self, limit: int, deadline: float) -> bytes:
        """``b""`` at close_notify, and at a FIN without one: whether something is missing is for the
        protocol above."""
        if self._ahead:
            data, self._ahead = self._ahead[:limit], self._ahead[limit:]
            return data
        while True:
            try:
                return self._object.read(limit)
            except ssl.SSLWantReadError:
                await self._flush(Stage.RECEIVE, deadline)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise ProbeFailed(_failure(error)) from None
            data = await self._receive(_CHUNK, Stage.RECEIVE, deadline)
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    async def write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._object.write(view) :]
            except ssl.SSLWantReadError:
                received = await self._receive(_CHUNK, Stage.SEND, deadline)
                if not received:
                    raise ProbeFailed(_closed(Stage.SEND, "the peer closed while we were sending")) from None
                self._incoming.write(received)
            except ssl.SSLError as error:
                raise ProbeFailed(_failure(error)) from None
            await self._flush(Stage.SEND, deadline)

    def goodbye(self) -> bytes:
        """The bytes of a close_notify, for a last attempt to send them."""
        with contextlib.suppress(ssl.SSLError, ValueError):
            self._object.unwrap()
        return self._outgoing.read()

    async def _flush(self, stage: Stage, deadline: float) -> None:
        if self._outgoing.pending:
            await self._send(self._outgoing.read(), stage, deadline)

    async def _flush_quietly(self, deadline: float) -> None:
        """Our alert to the peer; what became of the handshake is known without it."""
        with contextlib.suppress(ProbeFailed):
            await self._flush(Stage.TLS, deadline)


def _chain(session: ssl.SSLObject) -> tuple[bytes, ...]:
    """DER, leaf first, as the peer sent it."""
    if hasattr(session, "get_unverified_chain"):  # from Python 3.13
        return tuple(session.get_unverified_chain()[:_CHAIN_MOST])
    inner = cast(Any, session)._sslobj
    certificates = inner.get_unverified_chain() or ()
    return tuple(bytes(one.public_bytes(_ENCODING_DER)) for one in certificates[:_CHAIN_MOST])


def _tellable(chain: tuple[bytes, ...], seen: TlsSeen) -> tuple[bytes, ...]:
    """Up to the first certificate that no message has room for: half of one would be none, and what stands
    behind it would be taken for it."""
    for place, certificate in enumerate(chain):
        if len(certificate) > MAX_BYTES:
            seen.too_large = len(certificate)
            return chain[:place]
    return chain


_ENCODING_DER = 2  # X509_FILETYPE_ASN1, which _ssl.Certificate.public_bytes takes


def alert_of(failure: Failure) -> str | None:
    """The alert's name, where ``failure`` is one."""
    return ALERTS.get(failure.errno or "") if failure.kind is FailureKind.TLS_ALERT else None


def _handshake_failure(error: ssl.SSLError, last: bytes) -> Failure:
    """``last`` is what the peer sent last: an alert that OpenSSL has no reason for still stands there in
    the clear."""
    if isinstance(error, ssl.SSLCertVerificationError):
        detail = f"the certificate does not verify: {error.verify_message} ({error.verify_code})"
        return Failure(Stage.TLS, FailureKind.TLS_PROTOCOL, Origin.TARGET, detail, errno=error.reason)
    if not error.reason and len(last) == _ALERT_SIZE and last[0] == _ALERT:
        return _failure(error, f"ALERT_{last[-1]}")
    return _failure(error)


_ALERT = 21  # the record's content type
_ALERT_SIZE = 7  # type, version, length, level, description


def _failure(error: ssl.SSLError, unnamed: str = "UNKNOWN") -> Failure:
    """``errno`` of these failures is OpenSSL's reason, a symbol."""
    reason = error.reason or unnamed
    if alert := ALERTS.get(reason):
        words = f" ({_MEANING[alert]})" if alert in _MEANING else ""
        detail = f"the peer ended TLS with the alert {alert}{words}"
        return Failure(Stage.TLS, FailureKind.TLS_ALERT, Origin.TARGET, detail, errno=reason)
    words = _PROTOCOL.get(reason, "what answered does not complete a TLS handshake with us")
    return Failure(Stage.TLS, FailureKind.TLS_PROTOCOL, Origin.TARGET, f"{words} ({reason})", errno=reason)


#: What an alert mostly means, where its name does not say it.
_MEANING = {
    "handshake_failure": "nothing in common: version, cipher, group or signature",
    "protocol_version": "it does not take the versions offered",
    "insufficient_security": "it wants stronger ciphers than were offered",
    "unrecognized_name": "it does not serve the name asked for",
    "no_application_protocol": "it speaks none of the protocols offered by ALPN",
    "certificate_required": "it wants a client certificate",
    "unknown_ca": "it does not trust who issued our client certificate",
    "bad_certificate": "it does not take our client certificate",
    "access_denied": "it knows our client certificate, and does not let it in",
}

_PROTOCOL = {
    "WRONG_VERSION_NUMBER": "what answered does not speak TLS",
    "HTTP_REQUEST": "what answered does not speak TLS",
    "RECORD_LAYER_FAILURE": "what answered does not speak TLS",
    "PACKET_LENGTH_TOO_LONG": "what answered does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "no TLS version in common",
    "NO_PROTOCOLS_AVAILABLE": "no TLS version in common",
    "NO_SHARED_CIPHER": "no cipher in common",
}


def _cut_short(taken: int) -> Failure:
    if taken > _HANDSHAKE_MOST:
        detail = "the peer's handshake went on beyond 1 MiB"
        return Failure(Stage.TLS, FailureKind.TLS_PROTOCOL, Origin.TARGET, detail)
    when = "after part of its handshake" if taken else "without a byte"
    return _closed(Stage.TLS, f"the peer closed the connection {when}")


def _closed(stage: Stage, detail: str) -> Failure:
    return Failure(stage, FailureKind.CLOSED, Origin.UNKNOWN, detail)

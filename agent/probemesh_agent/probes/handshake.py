"""The TLS handshake of the tls and http kinds: judged first, and told also where the certificate is bad.

A handshake that verifies comes first. Where the certificate does not, its X509_V_ERR code is kept and a
second handshake without judgement gets version, cipher and chain all the same; later attempts go straight
to that. Where nothing but an old version or cipher is spoken, the second handshake says which, and
``verified`` stays None: not judged.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from probemesh_shared.model import Failure, Options, TlsDetail
from probemesh_shared.words import FailureKind, StartTls

from probemesh_agent.env import CertificateInvalid, ProbeEnv, ProbeFailed, ProbeLog, Stream, TlsFacts, TlsSeen
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.net.ranges import strip_scope
from probemesh_agent.net.tls import alert_of
from probemesh_agent.probes.attempts import Unit
from probemesh_agent.probes.contexts import Contexts
from probemesh_agent.probes.starttls import protocol_for, upgrade
from probemesh_agent.wire.tlsciphers import group_name

#: OpenSSL's reasons, and alerts of the peer, that an older version or a weaker cipher may cure.
_TOO_STRICT = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "NO_PROTOCOLS_AVAILABLE",
        "DH_KEY_TOO_SMALL",
        "LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED",
        "WRONG_SIGNATURE_TYPE",
        "UNKNOWN_DIGEST",
    }
)
#: How long a server may take to say what it thinks of our certificate, in seconds, beside two round trips.
SETTLE_S = 0.5
_TOO_STRICT_ALERTS = frozenset({"handshake_failure", "protocol_version", "insufficient_security"})

#: Alerts by which a server that asked for a client certificate turns away who brought none, or a wrong one.
_ABOUT_US = frozenset(
    {
        "handshake_failure",
        "bad_certificate",
        "unsupported_certificate",
        "certificate_revoked",
        "certificate_expired",
        "certificate_unknown",
        "unknown_ca",
        "access_denied",
        "certificate_required",
    }
)


def name_to_verify(unit: Unit, server_name: str | None) -> str:
    """The name asked for and judged by: as given, else the target's host; an agent's host is its address."""
    host = unit.address.host if unit.target.agent is not None else unit.target.host
    chosen = server_name or host
    literal = parse_literal(chosen)
    return str(strip_scope(literal)) if literal is not None else chosen.removesuffix(".")


Dial = Callable[[float], Awaitable[Stream]]


@dataclass(slots=True)
class Handshaker:
    """Opens TLS streams to one unit; ``detail`` gathers what they came to. ``dial``: what to go through in
    place of a connection to the unit's own address and port."""

    unit: Unit
    options: Options
    env: ProbeEnv
    contexts: Contexts
    log: ProbeLog
    server_name: str
    detail: TlsDetail = field(default_factory=TlsDetail)
    judging: bool = True
    starttls: StartTls | None = None  # asked for in the clear, before the handshake
    let_in: bool = False
    dial: Dial | None = None

    def __post_init__(self) -> None:
        self.detail = replace(self.detail, server_name=self.server_name)

    async def open(self, deadline: float) -> tuple[Stream, TlsFacts]:
        """A stream whose handshake is done. Raises ProbeFailed, with nothing left open."""
        if not self.judging:
            return await self._completed(False, self.detail.verified, deadline)
        try:
            return await self._completed(True, True, deadline)
        except CertificateInvalid as invalid:
            self._look(invalid.seen, complete=False)
            code, words = invalid.verify_code, invalid.verify_error
            self.log.add(f"the certificate does not verify: {words} (X509_V_ERR {code}); once more, unjudged")
            self.detail = replace(self.detail, verified=False, verify_code=code, verify_error=words)
            return await self._unjudged(False, deadline)
        except ProbeFailed as failed:
            if not _worth_a_weaker_one(failed.failure):
                raise self._noted(failed) from None
            self.log.add(f"{failed.failure.detail}; once more, with what is old and weak")
            with contextlib.suppress(ProbeFailed):
                return await self._unjudged(None, deadline)
            raise self._noted(failed) from None

    async def _unjudged(self, verified: bool | None, deadline: float) -> tuple[Stream, TlsFacts]:
        opened = await self._completed(False, verified, deadline)
        self.judging = False
        return opened

    async def connected(self, deadline: float) -> Stream:
        """A stream on which the next bytes are TLS. Raises ProbeFailed, with nothing left open."""
        protocol = self.protocol
        self.detail = replace(self.detail, starttls=protocol)
        stream = await (self.dial or self._connect)(deadline)
        try:
            if protocol is not None:
                await upgrade(stream, protocol, deadline, self.log)
        except BaseException:
            await stream.close()
            raise
        return stream

    @property
    def protocol(self) -> StartTls | None:
        """By which TLS is asked for in the clear. Raises ProbeFailed for ``auto`` on an unknown port."""
        return protocol_for(self.starttls, self.unit.port) if self.starttls is not None else None

    async def settled(self, stream: Stream, deadline: float) -> None:
        """With TLS 1.3 a server that asked for a client certificate says only now what it thinks of ours.
        Raises ProbeFailed where it does not let us in; the stream stays the caller's."""
        asked = self.detail.client_certificate_requested and self.detail.version == "TLSv1.3"
        if self.let_in or not asked:
            return
        wait_s = SETTLE_S + 2e-3 * (self.detail.handshake_ms or 0.0)
        try:
            await stream.settle(min(deadline, self.env.clock.monotonic() + wait_s))
            self.let_in = True
        except ProbeFailed as failed:
            self.detail = replace(self.detail, alert=alert_of(failed.failure))
            raise self._explained(failed) from None

    async def _completed(
        self, judging: bool, verified: bool | None, deadline: float
    ) -> tuple[Stream, TlsFacts]:
        context = self.contexts.get(judging)
        stream = await self.connected(deadline)
        try:
            facts = await stream.start_tls(context, self.server_name, deadline)
        except BaseException:
            await stream.close()
            raise
        self.detail = replace(
            self.detail,
            version=facts.version,
            cipher=facts.cipher,
            alpn=facts.alpn,
            chain=facts.chain,
            verified=verified,
            verify_code=self.detail.verify_code if verified is False else None,
            verify_error=self.detail.verify_error if verified is False else None,
            tcp_ms=stream.facts.connect_ms,
            handshake_ms=facts.handshake_ms,
            alert=None,
        )
        self._look(facts.seen, complete=True)
        if facts.seen.too_large:
            self.log.add(f"a certificate of {facts.seen.too_large} bytes is left out, and those behind it")
        return stream, facts

    def _look(self, seen: TlsSeen | None, *, complete: bool) -> None:
        """What the peer's messages said; that it asked for no client certificate is known at the end only."""
        if seen is None:
            return
        known = self.detail.client_certificate_requested
        self.detail = replace(
            self.detail,
            key_exchange=group_name(seen.group) if seen.group is not None else self.detail.key_exchange,
            client_certificate_requested=True if seen.requested else False if complete else known,
            client_certificate_authorities=seen.authorities or self.detail.client_certificate_authorities,
        )

    async def _connect(self, deadline: float) -> Stream:
        return await self.env.network.connect(self.unit.address, self.unit.port, self.options, deadline)

    def _noted(self, failed: ProbeFailed) -> ProbeFailed:
        self._look(failed.seen, complete=False)
        if self.detail.version is None:
            self.detail = replace(self.detail, alert=alert_of(failed.failure))
        return self._explained(failed)

    def _explained(self, failed: ProbeFailed) -> ProbeFailed:
        """Says that a client certificate was asked for, where that may be why."""
        failure = failed.failure
        about_us = alert_of(failure) in _ABOUT_US or failure.kind in (FailureKind.CLOSED, FailureKind.RESET)
        if not about_us or not self.detail.client_certificate_requested:
            return failed
        given = self.contexts.settings.client_cert is not None
        ours = "did not take the one given" if given else "was given none (--client-cert, --client-key)"
        told = replace(failure, detail=f"{failure.detail}; it asked for a client certificate and {ours}")
        return ProbeFailed(told, failed.at)


def _worth_a_weaker_one(failure: Failure) -> bool:
    if failure.kind is FailureKind.TLS_ALERT:
        return alert_of(failure) in _TOO_STRICT_ALERTS
    return failure.kind is FailureKind.TLS_PROTOCOL and failure.errno in _TOO_STRICT


__all__ = ["Contexts", "Handshaker", "name_to_verify"]

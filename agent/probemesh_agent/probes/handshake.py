"""The TLS handshake of the tls and http kinds: judged first, and told also where the certificate is bad.

A handshake that verifies comes first. Where the certificate does not, its X509_V_ERR code is kept and a
second handshake without judgement gets version, cipher and chain all the same; later attempts go straight
to that. Where nothing but an old version or cipher is spoken, the second handshake says which, and
``verified`` stays None: not judged.
"""

import contextlib
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from probemesh_shared.model import Failure, Options, TlsDetail
from probemesh_shared.words import FailureKind, StartTls

from probemesh_agent.env import CertificateInvalid, ProbeEnv, ProbeFailed, ProbeLog, Stream, TlsFacts
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.net.ranges import strip_scope
from probemesh_agent.net.tls import alert_of
from probemesh_agent.probes.attempts import Unit
from probemesh_agent.probes.starttls import protocol_for, upgrade

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
_TOO_STRICT_ALERTS = frozenset({"handshake_failure", "protocol_version", "insufficient_security"})


class Contexts:
    """For one run. Reading the system's authorities takes some 30 ms of the loop, so what was made is
    shared by all runs until the files or the variables that name them change."""

    def __init__(self, alpn: Sequence[str]) -> None:
        self._alpn = tuple(alpn)
        self._authorities = _authorities()

    def get(self, judging: bool) -> ssl.SSLContext:
        key = (self._alpn, judging)
        authorities, context = _made.get(key, (None, None))
        if context is None or authorities != self._authorities:
            context = self._make(judging)
            _made[key] = (self._authorities, context)
        return context

    def _make(self, judging: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(list(self._alpn))
        if judging:
            context.set_default_verify_paths()
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.set_ciphers("ALL:@SECLEVEL=0")  # to report what is spoken, not to trust it
        return context


_Stamp = tuple[tuple[str, int], ...]
_made: dict[tuple[tuple[str, ...], bool], tuple[_Stamp, ssl.SSLContext]] = {}


def _authorities() -> _Stamp:
    """Where this host keeps the authorities it trusts, and when that last changed."""
    paths = ssl.get_default_verify_paths()
    stamp: list[tuple[str, int]] = []
    for variable, default in (
        (paths.openssl_cafile_env, paths.openssl_cafile),
        (paths.openssl_capath_env, paths.openssl_capath),
    ):
        path = os.environ.get(variable, default)
        try:
            changed = os.stat(path).st_mtime_ns  # noqa: PTH116 - once a run
        except OSError:
            changed = 0
        stamp.append((path, changed))
    return tuple(stamp)


def name_to_verify(unit: Unit, server_name: str | None) -> str:
    """The name asked for and judged by: as given, else the target's host; an agent's host is its address."""
    host = unit.address.host if unit.target.agent is not None else unit.target.host
    chosen = server_name or host
    literal = parse_literal(chosen)
    return str(strip_scope(literal)) if literal is not None else chosen.removesuffix(".")


@dataclass(slots=True)
class Handshaker:
    """Opens TLS streams to one unit; ``detail`` gathers what they came to."""

    unit: Unit
    options: Options
    env: ProbeEnv
    contexts: Contexts
    log: ProbeLog
    server_name: str
    detail: TlsDetail = field(default_factory=TlsDetail)
    judging: bool = True
    starttls: StartTls | None = None  # asked for in the clear, before the handshake

    def __post_init__(self) -> None:
        self.detail = replace(self.detail, server_name=self.server_name)

    async def open(self, deadline: float) -> tuple[Stream, TlsFacts]:
        """A stream whose handshake is done. Raises ProbeFailed, with nothing left open."""
        if not self.judging:
            return await self._completed(False, self.detail.verified, deadline)
        try:
            return await self._completed(True, True, deadline)
        except CertificateInvalid as invalid:
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

    async def _completed(
        self, judging: bool, verified: bool | None, deadline: float
    ) -> tuple[Stream, TlsFacts]:
        address, port = self.unit.address, self.unit.port
        context = self.contexts.get(judging)
        protocol = protocol_for(self.starttls, port) if self.starttls is not None else None
        stream = await self.env.network.connect(address, port, self.options, deadline)
        try:
            if protocol is not None:
                await upgrade(stream, protocol, deadline, self.log)
            facts = await stream.start_tls(context, self.server_name, deadline)
        except BaseException:
            await stream.close()
            raise
        first = self.detail.version is None
        self.detail = replace(
            self.detail,
            version=facts.version,
            cipher=facts.cipher,
            alpn=facts.alpn,
            chain=facts.chain,
            verified=verified,
            starttls=protocol,
            tcp_ms=stream.facts.connect_ms if first else self.detail.tcp_ms,
            handshake_ms=facts.handshake_ms if first else self.detail.handshake_ms,
            alert=None,
        )
        return stream, facts

    def _noted(self, failed: ProbeFailed) -> ProbeFailed:
        if self.detail.version is None:
            self.detail = replace(self.detail, alert=alert_of(failed.failure))
        return failed


def _worth_a_weaker_one(failure: Failure) -> bool:
    if failure.kind is FailureKind.TLS_ALERT:
        return alert_of(failure) in _TOO_STRICT_ALERTS
    return failure.kind is FailureKind.TLS_PROTOCOL and failure.errno in _TOO_STRICT

"""grpc says UNAVAILABLE for a peer that is away and for one that refused our certificate alike. This tells
which.

Our own dates and CA first, then one handshake with the standard library, which reports alerts and
verification errors. In TLS 1.3 a server judges our certificate after our handshake is over: its alert comes
with the first read.
"""

import asyncio
import time
from datetime import UTC, datetime

from probemesh_shared.errors import CertificateRefused, LinkBroke, MeshError, NotAllowed, Unreachable
from probemesh_shared.escape import escape
from probemesh_shared.identity.files import Identity
from probemesh_shared.identity.tlsprobe import Probed, Problem, probe_tls
from probemesh_shared.words import Role

HANDSHAKE_S = 5.0
_ASK_ANEW = "ask an administrator for a new token; if it is new, check this host's clock"


_JOIN_AGAIN = "join again with a new token, or check this host's clock"
_COME_BACK = {
    Role.AGENT: (
        "if this host's clock is right, join again and keep the history: meshctl token create --name {name},"
        " then here mesh-agent join HOST:PORT --token-file F --replace"
    ),
    Role.CONTROLLER: "start the controller again: it renews its own certificate, if the CA's key is there",
}


async def explain(address: str, identity: Identity, server_name: str) -> MeshError:
    """:class:`CertificateRefused` (which side, and why), :class:`NotAllowed` (a token that is over) or
    :class:`Unreachable`. Takes at most about 6 s."""
    own = _own_dates(identity, time.time_ns())
    if own is not None:
        return own
    try:
        async with asyncio.timeout(HANDSHAKE_S + 1):
            probed = await asyncio.to_thread(probe_tls, address, identity, server_name, HANDSHAKE_S)
    except TimeoutError:
        probed = Probed(Problem.SILENT, "the name was not resolved in time")
    if probed.problem is Problem.OURS and identity.role is Role.JOIN:
        return CertificateRefused(f"{address} refuses this token: {probed.detail}", _ASK_ANEW)
    if probed.problem is Problem.THEIRS_OTHER_CA and identity.role is Role.JOIN:
        return CertificateRefused(
            f"{address} presents a certificate of a newer CA of its mesh than this token knows", _ASK_ANEW
        )
    return _as_error(address, server_name, probed)


def _own_dates(identity: Identity, now_ns: int) -> MeshError | None:
    if now_ns >= identity.not_after_ns and identity.role is Role.JOIN:
        return NotAllowed(f"this token expired at {when(identity.not_after_ns)}", _ASK_ANEW)
    if now_ns >= identity.not_after_ns:
        return CertificateRefused(
            f"our own certificate ({identity.role} {identity.name}) expired {when(identity.not_after_ns)}",
            _COME_BACK.get(identity.role, _JOIN_AGAIN).format(name=identity.name),
        )
    if now_ns < identity.not_before_ns:
        what = "this token" if identity.role is Role.JOIN else "our own certificate"
        return CertificateRefused(
            f"{what} is not valid before {when(identity.not_before_ns)}",
            "check this host's clock",
        )
    return None


def when(instant_ns: int) -> str:
    """``2026-11-22 17:02:03Z``."""
    return datetime.fromtimestamp(instant_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


_HINTS = {
    Problem.NAME: "check the spelling, and this host's resolver",
    Problem.REFUSED: "is it running, and is this the right port?",
    Problem.SILENT: "is the address right, and does a firewall in between let TCP through?",
    Problem.NOT_TLS: "is this the right port?",
    Problem.THEIRS_OTHER_CA: "it belongs to another mesh, or its CA was made anew: join again",
    Problem.THEIRS_EXPIRED: "restart it, so that it renews its certificate, or check this host's clock",
    Problem.THEIRS_NOT_YET: "check the clocks of both hosts",
    Problem.OURS: "it may be of another mesh, or the other host's clock may be wrong: join again",
}


def _as_error(address: str, server_name: str, probed: Probed) -> MeshError:
    hint = _HINTS.get(probed.problem)
    match probed.problem:
        case Problem.THEIRS_OTHER_CA:
            return CertificateRefused(
                f"the certificate that {address} presents is not from this mesh's CA", hint
            )
        case Problem.THEIRS_EXPIRED:
            return CertificateRefused(f"the certificate that {address} presents has expired", hint)
        case Problem.THEIRS_NOT_YET:
            return CertificateRefused(f"the certificate that {address} presents is not valid yet", hint)
        case Problem.THEIRS_NAME:
            theirs = f", it is {escape(probed.detail, 300)}" if probed.detail else ""
            return CertificateRefused(
                f"{address} presents a certificate for another role or name; expected was"
                f" {server_name}{theirs}",
                "is this the right address?",
            )
        case Problem.THEIRS:
            return CertificateRefused(f"the certificate that {address} presents is refused: {probed.detail}")
        case Problem.OURS:
            return CertificateRefused(f"{address} refuses our certificate: {probed.detail}", hint)
        case Problem.NONE:
            return LinkBroke(f"the connection to {address} broke, though it answers now", "try again")
        case _:
            return Unreachable(f"{address} cannot be reached: {probed.detail}", hint)

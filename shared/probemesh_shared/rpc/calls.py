"""The call that is being served, for whoever works on it: who asked, and what its record should say.

The guard opens one for each call and records it in the end. A handler, or what it calls, adds to it by
:func:`note`; :func:`caller` says who asked where something outlives the call. Outside of a call both do
nothing.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from probemesh_shared.audit.record import NOBODY, AuditRecord, Caller
from probemesh_shared.rpc.peer import Peer
from probemesh_shared.words import AuditOutcome


@dataclass(slots=True)
class Call:
    """``method`` is grpc's name of it; ``caller`` is complete once the certificate was read."""

    method: str
    caller: Caller = NOBODY
    noted: dict[str, Any] = field(default_factory=dict)

    def record(self, at_ns: int, outcome: AuditOutcome, detail: str = "") -> AuditRecord:
        """Detail that was noted stays where there is nothing else to say."""
        who = self.caller
        noted = {"detail": detail, **self.noted} if not detail else {**self.noted, "detail": detail}
        return AuditRecord(
            at_ns=at_ns,
            event=event_of(self.method),
            outcome=outcome,
            who=who.who,
            who_id=who.who_id,
            certificate=who.certificate,
            address=who.address,
            **noted,
        )


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def begin(method: str, address: str) -> Call:
    """From now on the call of this task."""
    call = Call(method, Caller(address=plain_address(address)))
    _current.set(call)
    return call


def note(**fields: Any) -> None:
    """Fields of :class:`AuditRecord` that the record of this call is to have; the last word stands."""
    call = _current.get()
    if call is not None:
        call.noted.update(fields)


def caller() -> Caller:
    """Who asked; ``local`` where nobody called."""
    call = _current.get()
    return call.caller if call is not None else Caller("local")


def caller_of(peer: Peer) -> Caller:
    """Names are the certificate's."""
    name = peer.name if peer.name != peer.id else ""
    who_id = peer.id if name else ""
    return Caller(f"{peer.role}/{name or peer.id}", who_id, peer.serial, plain_address(peer.address))


def plain_address(address: str) -> str:
    """``192.0.2.1:4711`` and ``[2001:db8::1]:4711`` of grpc's ``ipv4:192.0.2.1:4711`` and
    ``ipv6:%5B2001:db8::1%5D:4711``."""
    scheme, colon, rest = address.partition(":")
    return unquote(rest) if colon and scheme in ("ipv4", "ipv6") else address


def event_of(method: str) -> str:
    """``/probemesh.v1.Mesh/CreateToken`` is ``create-token``."""
    name = method.rpartition("/")[2]
    return "".join(f"-{char.lower()}" if char.isupper() else char for char in name).lstrip("-")

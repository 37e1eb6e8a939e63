"""Our errors over the wire: one table, class ↔ status, used in both directions.

The class travels by name in trailing metadata, with the hint; the status alone is enough for a peer that
does not send them. What comes in is bounded and escaped: a peer's words end up on a terminal.
"""

from typing import Any

from probemesh_shared.errors import (
    Busy,
    CertificateRefused,
    InvalidRequest,
    MeshError,
    NotAllowed,
    NotFound,
    StateError,
    Unreachable,
    VersionMismatch,
)
from probemesh_shared.escape import escape, escape_bytes
from probemesh_shared.rpc.grpc_setup import grpc

_Code = grpc.StatusCode
CLASS_KEY, HINT_KEY = "probemesh-error", "probemesh-hint-bin"
_MAX_TEXT = 600

STATUS: dict[type[MeshError], grpc.StatusCode] = {
    InvalidRequest: _Code.INVALID_ARGUMENT,
    NotFound: _Code.NOT_FOUND,
    NotAllowed: _Code.PERMISSION_DENIED,
    CertificateRefused: _Code.UNAUTHENTICATED,
    Unreachable: _Code.UNAVAILABLE,
    Busy: _Code.RESOURCE_EXHAUSTED,
    VersionMismatch: _Code.FAILED_PRECONDITION,
    StateError: _Code.DATA_LOSS,
    MeshError: _Code.INTERNAL,
}
_BY_NAME = {cls.__name__: cls for cls in STATUS}
_BY_CODE: dict[grpc.StatusCode, type[MeshError]] = {
    **{code: cls for cls, code in STATUS.items()},
    _Code.DEADLINE_EXCEEDED: Unreachable,
    _Code.CANCELLED: Unreachable,
    _Code.ABORTED: Unreachable,
    _Code.UNIMPLEMENTED: VersionMismatch,
    _Code.OUT_OF_RANGE: InvalidRequest,
}
#: Codes by which grpc itself says that a link broke or never was; the network may heal. 2,500 agents that
#: dial at once see CANCELLED and INTERNAL too.
LINK_CODES = frozenset(
    {_Code.UNAVAILABLE, _Code.CANCELLED, _Code.DEADLINE_EXCEEDED, _Code.INTERNAL, _Code.UNKNOWN}
)


def to_status(error: MeshError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    """Code, details and trailing metadata for ``context.abort``."""
    cls = next(cls for cls in type(error).__mro__ if cls in STATUS)
    metadata: tuple[tuple[str, str | bytes], ...] = ((CLASS_KEY, cls.__name__),)
    if error.hint:
        metadata += ((HINT_KEY, error.hint[:_MAX_TEXT].encode()),)
    return STATUS[cls], str(error)[:_MAX_TEXT], metadata


def spoken_by_us(error: grpc.aio.AioRpcError) -> bool:
    """True where the far end's own code answered; False where it was grpc or the network."""
    return _metadata(error, CLASS_KEY) is not None


def from_status(error: grpc.aio.AioRpcError) -> MeshError:
    """The error as the far end raised it, as near as its status tells."""
    name, hint = _metadata(error, CLASS_KEY), _metadata(error, HINT_KEY)
    cls = _BY_NAME.get(name) if isinstance(name, str) else None
    cls = cls or _BY_CODE.get(error.code(), MeshError)
    text = escape(error.details() or error.code().name.lower().replace("_", " "), _MAX_TEXT)
    return cls(text, escape_bytes(hint, _MAX_TEXT) if isinstance(hint, bytes) else None)


def _metadata(error: grpc.aio.AioRpcError, key: str) -> Any:
    for name, value in error.trailing_metadata() or ():
        if name == key:
            return value
    return None

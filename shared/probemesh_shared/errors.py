"""Our own faults and refusals, as one small family. What the network did is never one of these.

Each class has one gRPC status and one exit code (DESIGN: 2 wrong use, 4 nothing could be measured), in the
two tables of :mod:`probemesh_shared.rpc.errors` and the command line; messages say what, why and what to do
next.
"""


class MeshError(Exception):
    """Root. ``str(error)`` is one line for people; ``hint`` the next thing to try."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class InvalidRequest(MeshError):
    """What was asked cannot be read or is out of range."""


class NotFound(MeshError):
    """No such agent, run or context."""


class NotAllowed(MeshError):
    """Identity is known, the role is not enough."""


class CertificateRefused(MeshError):
    """One side did not accept the other's certificate: wrong CA, expired, not yet valid, revoked, wrong name
    or role."""


class Unreachable(MeshError):
    """The controller or agent could not be reached over the network at all."""


class LinkBroke(Unreachable):
    """A connection broke, though the other end answers: dialling at once again tells more, if it breaks
    again."""


class Busy(MeshError):
    """Admission refused for now; trying again later may do."""


class VersionMismatch(MeshError):
    """No protocol version in common."""


class StateError(MeshError):
    """State directory or store: missing, locked, unreadable, newer than this program, permissions too
    wide."""

"""From a stream in the clear to where TLS may begin: runs a protocol's dialogue over it."""

from dataclasses import replace

from probemesh_shared import failures
from probemesh_shared.model import Failure
from probemesh_shared.words import FailureKind, Origin, Stage, StartTls

from probemesh_agent.env import ProbeFailed, ProbeLog, Stream
from probemesh_agent.porttable import starttls_of
from probemesh_agent.wire.dialogue import DialogueFailed
from probemesh_agent.wire.starttls import dialogue

_CHUNK = 4096
_WAITS_FOR_US = frozenset({StartTls.LDAP, StartTls.POSTGRES})


def protocol_for(wanted: StartTls, port: int) -> StartTls:
    """``auto`` by the port table; raises :class:`ProbeFailed` where that does not know the port."""
    if wanted is not StartTls.AUTO:
        return wanted
    found = starttls_of(port)
    if found is None:
        detail = f"no protocol with STARTTLS is known for port {port}: name it instead of auto"
        raise ProbeFailed(failures.unsupported(Stage.TLS, detail))
    return found


async def upgrade(stream: Stream, protocol: StartTls, deadline: float, log: ProbeLog) -> None:
    """Until the server says that TLS may begin. Raises :class:`ProbeFailed`: ``answer-unexpected`` where it
    says no (with its words) or sends more in the clear, ``bad-answer`` where it does not speak ``protocol``,
    ``closed``, or silence. Closes nothing."""
    talk = dialogue(protocol, stream.facts.local_address)
    heard = 0
    try:
        out = talk.start()
        while True:
            if out:
                await stream.write(out, deadline)
            if talk.is_done:
                return
            data = await _read(stream, protocol, heard, deadline)
            heard += len(data)
            out = talk.feed(data)
    except DialogueFailed as failed:
        log.add(f"{protocol}: {failed.words}")
        raise ProbeFailed(Failure(Stage.RECEIVE, failed.kind, Origin.TARGET, failed.words)) from None


async def _read(stream: Stream, protocol: StartTls, heard: int, deadline: float) -> bytes:
    try:
        data = await stream.read(_CHUNK, deadline)
    except ProbeFailed as failed:
        if heard or protocol in _WAITS_FOR_US or failed.failure.kind is not FailureKind.TIMEOUT:
            raise
        words = f"{failed.failure.detail}: {protocol} servers speak first, unless TLS is all they speak"
        raise ProbeFailed(replace(failed.failure, detail=words)) from None
    if data:
        return data
    detail = f"the server closed before TLS began, after {heard} bytes of {protocol}"
    raise ProbeFailed(Failure(Stage.RECEIVE, FailureKind.CLOSED, Origin.UNKNOWN, detail))

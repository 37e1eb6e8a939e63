"""What stands before every handler: who is it, may they, are they revoked; and after it: what the caller may
learn, and the record of it.

Every call is recorded, the refused ones too: a method is by being served. Handlers are wrapped when they are
registered, not intercepted by call: requests of a peer that is not allowed are not even parsed, and whatever
a handler raises is turned into one of our errors here, in one place.
"""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from probemesh_shared.audit.record import Audit, unrecorded
from probemesh_shared.errors import (
    Busy,
    CertificateRefused,
    InvalidRequest,
    MeshError,
    NotAllowed,
    StateError,
    Unreachable,
)
from probemesh_shared.rpc import calls
from probemesh_shared.rpc.authz import allowed, refusal
from probemesh_shared.rpc.door import MOST_HEADERS, Door
from probemesh_shared.rpc.errors import to_status
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.rpc.peer import Peer, peer_of
from probemesh_shared.rpc.writes import Writes
from probemesh_shared.wire import outline
from probemesh_shared.words import OPERATORS, AuditOutcome, Role

_log = logging.getLogger(__name__)

#: Calls of one certificate at a time, over all of its connections.
MAX_CALLS = 64
_REVOKED = "this certificate has been revoked"
_ASK = "ask an administrator for a new token"
_DISTRUSTED = "the CA of this certificate is not trusted any more"
_ENDED = "this certificate has expired since the connection was made"
_RENEW = "renew it, or join again with a new token"
#: Roles whose id is a person's name.
_BY_NAME = OPERATORS | {Role.RENEWAL}

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]  # not subscriptable at run time
Work = Callable[[], Awaitable[Any]]
#: grpc's spelling of whose messages are read in this task, and in those that it started.
_READING: ContextVar[str] = ContextVar("reading", default="")


class Guard:
    """Authorization, deny-list and live calls of one server. Used from its event loop only."""

    def __init__(
        self,
        mesh: str,
        denied: Iterable[str] = (),
        audit: Audit = unrecorded,
        wall_ns: Callable[[], int] = time.time_ns,
        door: Door | None = None,
    ) -> None:
        self._door = door or Door()
        self._wall_ns = wall_ns
        self._mesh = mesh
        self._audit = audit
        self._denied = set(denied)
        self._denied_operators: set[str] = set()
        self._listed: frozenset[str] = frozenset()  # serials, by the last list that came
        self._distrusted: frozenset[str] = frozenset()
        self._live: dict[asyncio.Task[Any], Peer] = {}
        self._calls: Counter[str] = Counter()  # of a serial
        self._cut: dict[asyncio.Task[Any], MeshError] = {}
        self._closing = False

    def deny(self, serials: Iterable[str]) -> None:
        """Certificates that are refused from now on."""
        self._denied.update(serials)

    def revoke(self, peer_id: str, serials: Iterable[str] = ()) -> int:
        """Denies ``serials`` and every certificate by which ``peer_id`` is connected now; ends all of their
        calls.

        Returns how many calls were ended. The id itself is not denied: it may enrol again.
        """
        self.deny(serials)
        self.deny([peer.serial for peer in self._live.values() if peer.id == peer_id])
        reason = CertificateRefused(_REVOKED, _ASK)
        return self._end([task for task, peer in self._live.items() if peer.serial in self._denied], reason)

    def deny_operator(self, name: str, serials: Iterable[str] = ()) -> int:
        """Denies ``serials`` and every certificate in that operator's name, known or not, until it is
        readmitted; ends all of its calls, but for the one by which somebody does that to himself."""
        self.deny(serials)
        self._denied_operators.add(name)
        asking = asyncio.current_task()
        cut = [task for task, peer in self._live.items() if self._is_denied(peer) and task is not asking]
        return self._end(cut, CertificateRefused(_REVOKED, _ASK))

    def deny_operators(self, names: Iterable[str], serials: Iterable[str]) -> int:
        """As :meth:`deny_operator` for several: the whole list, in place of the one before. Whoever sends
        lists without end makes nothing grow."""
        self._denied_operators = set(names)
        self._listed = frozenset(serials)
        cut = [task for task, peer in self._live.items() if self._is_denied(peer)]
        return self._end(cut, CertificateRefused(_REVOKED, _ASK))

    def readmit_operator(self, name: str) -> None:
        """It joined anew; serials that were denied stay so."""
        self._denied_operators.discard(name)

    def _is_denied(self, peer: Peer) -> bool:
        by_name = peer.role in _BY_NAME and peer.id in self._denied_operators
        return by_name or peer.serial in self._denied or peer.serial in self._listed

    def distrust(self, serials: Iterable[str]) -> int:
        """Certificates of a CA that is not trusted any more, in place of those before: TLS refuses them with
        the next connection, this what is there already."""
        self._distrusted = frozenset(serials)
        cut = [task for task, peer in self._live.items() if peer.serial in self._distrusted]
        return self._end(cut, CertificateRefused(_DISTRUSTED, _ASK))

    def close(self) -> int:
        """Ends every live call, and refuses new ones."""
        self._closing = True
        return self._end(list(self._live), Unreachable("shutting down", "try again in a moment"))

    def live(self) -> tuple[Peer, ...]:
        """The peers of all calls that are being served."""
        return tuple(self._live.values())

    def _end(self, tasks: list[asyncio.Task[Any]], reason: MeshError) -> int:
        for task in tasks:
            self._cut[task] = reason
            task.cancel()
        return len(tasks)

    def _admit(self, call: calls.Call, context: Any) -> Peer:
        method, peer = call.method, peer_of(context)
        call.caller = calls.caller_of(peer)
        self._door.called(peer)
        if len(context.invocation_metadata() or ()) > MOST_HEADERS:
            raise self._door.disgrace(peer, "headers without an end")
        if self._closing:
            raise Unreachable("shutting down", "try again in a moment")
        if peer.mesh != self._mesh:
            raise CertificateRefused("this certificate belongs to another mesh")
        if self._is_denied(peer):
            raise CertificateRefused(_REVOKED, _ASK)
        if peer.serial in self._distrusted:
            raise CertificateRefused(_DISTRUSTED, _ASK)
        if peer.ends_ns is not None and peer.ends_ns <= self._wall_ns():
            raise CertificateRefused(_ENDED, _RENEW)
        if not allowed(method, peer.role):
            raise NotAllowed(refusal(method, peer.role, peer.name))
        if self._calls[peer.serial] >= MAX_CALLS:
            raise Busy(f"more than {MAX_CALLS} calls at a time with one certificate")
        return peer

    def _enter(self, task: asyncio.Task[Any], peer: Peer) -> None:
        self._live[task] = peer
        self._calls[peer.serial] += 1

    def _lapse(self, task: asyncio.Task[Any], peer: Peer) -> asyncio.TimerHandle | None:
        """TLS looks at dates once, when a connection begins; a stream may outlive them."""
        if peer.ends_ns is None:
            return None
        reason = CertificateRefused(_ENDED, _RENEW)
        left = (peer.ends_ns - self._wall_ns()) / 1e9
        return asyncio.get_running_loop().call_later(left, self._end, [task], reason)

    def _leave(self, task: asyncio.Task[Any]) -> None:
        peer = self._live.pop(task, None)
        if peer is not None:
            self._calls[peer.serial] -= 1
            if not self._calls[peer.serial]:
                del self._calls[peer.serial]

    async def _run(self, method: str, context: Any, work: Work, lasting: bool = False) -> Any:
        """``lasting``: recorded when it begins as well, since its end may be days away."""
        call = calls.begin(method, context.peer())
        try:
            result, error, outcome = await self._serve(call, context, work, lasting)
        except asyncio.CancelledError:
            self._record(call, AuditOutcome.CANCELLED)
            raise
        except grpc.aio.AbortError:
            self._record(call, AuditOutcome.FAILED, "aborted")
            raise
        self._record(call, outcome, "" if error is None else str(error))
        if isinstance(context, Writes):
            await context.settle()
        return result if error is None else await _refuse(context, error)

    def _record(self, call: calls.Call, outcome: AuditOutcome, detail: str = "") -> None:
        self._audit(call.record(self._wall_ns(), outcome, detail))

    async def _serve(
        self, call: calls.Call, context: Any, work: Work, lasting: bool
    ) -> tuple[Any, MeshError | None, AuditOutcome]:
        """The result, or the error that the caller is told; raises CancelledError where the caller went
        away."""
        task = asyncio.current_task()
        assert task is not None
        lapse: asyncio.TimerHandle | None = None
        peer: Peer | None = None
        try:
            peer = self._admit(call, context)
            self._door.recognised(peer)
            _READING.set(peer.address)
            self._enter(task, peer)
            lapse = self._lapse(task, peer)
            if lasting:
                self._record(call, AuditOutcome.STARTED)
            result = await work()
            if task not in self._cut:
                return result, None, AuditOutcome.OK
        except grpc.aio.AbortError:
            self._cut.pop(task, None)
            raise
        except asyncio.CancelledError:
            if task not in self._cut:
                if peer is not None:
                    self._door.reset(peer)
                raise  # whom we cut off is told why, or it would hang (grpc #29248)
        except MeshError as error:
            if task not in self._cut:
                return None, error, _outcome_of(error)
        except Exception as error:
            if task not in self._cut:
                return None, _hidden(call.method, error), AuditOutcome.FAILED
        finally:
            self._leave(task)
            if lapse is not None:
                lapse.cancel()
        return None, self._cut.pop(task), AuditOutcome.CUT

    def wrap(self, method: str, handler: "Handler") -> "Handler":
        """The same handler behind this guard. Unary messages are parsed and printed inside of it."""
        parse, show = self._metered(handler.request_deserializer), handler.response_serializer
        behaviour = _behaviour(handler)

        async def unary_response(request: Any, context: Any) -> bytes | None:
            async def work() -> Any:
                return _print(show, await behaviour(_parse(handler, parse, request), context))

            result: bytes | None = await self._run(method, context, work)
            return result

        async def stream_response(request: Any, served: Any) -> None:
            context = Writes(served)

            async def work() -> None:
                made = behaviour(_parse(handler, parse, request), context)
                if not hasattr(made, "__aiter__"):
                    await made  # writes by itself
                    return
                async with aclosing(made) as messages:
                    async for message in messages:
                        await context.write(message)

            await self._run(method, context, work, lasting=handler.request_streaming)

        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(stream_response, parse, show)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(unary_response, parse, None)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream_response, None, show)
        return grpc.unary_unary_rpc_method_handler(unary_response, None, None)

    def _metered(self, parse: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
        """The door is told of every message that is read: what it cannot tell apart else is noise."""

        def read(data: bytes) -> Any:
            self._door.read(_READING.get(), len(data))
            return data if parse is None else parse(data)

        return read


def _behaviour(handler: "Handler") -> Callable[..., Any]:
    found = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    assert found is not None
    return found


def _parse(handler: "Handler", parse: Callable[[bytes], Any] | None, request: Any) -> Any:
    if handler.request_streaming or parse is None:
        return request
    try:
        message = parse(request)
    except Exception as error:  # protobuf's DecodeError has no stable home
        raise InvalidRequest("the request cannot be read") from error
    outline.check(message)
    return message


def _print(show: Callable[[Any], bytes] | None, response: Any) -> Any:
    return response if show is None else show(response)


def _outcome_of(error: MeshError) -> AuditOutcome:
    if isinstance(error, NotAllowed | CertificateRefused):
        return AuditOutcome.REFUSED
    if isinstance(error, StateError) or type(error) is MeshError:
        return AuditOutcome.FAILED
    return AuditOutcome.REJECTED


def _hidden(method: str, error: Exception) -> MeshError:
    """Never the exception's own words: they may hold paths, addresses, secrets."""
    tag = secrets.token_hex(4)
    _log.error("%s failed, id %s", method, tag, exc_info=error)
    return MeshError(f"internal error {tag}", f"the log of the other side has the reason under id {tag}")


async def _refuse(context: Any, error: MeshError) -> None:
    code, details, metadata = to_status(error)
    await context.abort(code, details, metadata)

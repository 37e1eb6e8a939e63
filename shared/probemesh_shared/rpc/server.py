"""The one way to listen: mutual TLS 1.3, every method behind the guard, no plaintext."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from probemesh_shared.audit.record import Audit, AuditRecord, Caller, unrecorded
from probemesh_shared.errors import StateError
from probemesh_shared.identity.files import Identity
from probemesh_shared.names import join_host_port, split_host_port
from probemesh_shared.rpc import calls
from probemesh_shared.rpc.authz import check_table
from probemesh_shared.rpc.door import MOST_HEADERS, Door
from probemesh_shared.rpc.grpc_setup import SERVER_OPTIONS, grpc
from probemesh_shared.rpc.guard import Guard
from probemesh_shared.rpc.peer import Peer
from probemesh_shared.words import AuditOutcome

S = TypeVar("S")
MAX_CONNECTIONS = 8_192
#: Of which one address may hold so many that nobody is recognised on, once a quarter of all is taken.
_STRANGERS_SHARE, _FEWEST_STRANGERS = 16, 32
_CROWDED_SHARE = 4


class _Heads(grpc.aio.ServerInterceptor):
    """Sees the headers of calls that no handler ever sees: those that were given up before their message."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        if len(details.invocation_metadata or ()) > MOST_HEADERS:
            self._door.suspect()
        return await continuation(details)


class MeshServer:
    """``add`` servicers, ``start``, ``stop``. One event loop."""

    def __init__(
        self,
        identity: Identity,
        *,
        denied_serials: Iterable[str] = (),
        max_connections: int = MAX_CONNECTIONS,
        audit: Audit = unrecorded,
    ) -> None:
        self._identity = identity
        self._served: Identity | None = None
        self.door = Door(
            strangers=max(_FEWEST_STRANGERS, max_connections // _STRANGERS_SHARE),
            crowded=max_connections // _CROWDED_SHARE,
        )
        self.door.on_cut = self._cut_off
        self._audit = audit
        self._guard = Guard(identity.mesh, denied_serials, audit, door=self.door)
        self._methods: list[str] = []
        options = (*SERVER_OPTIONS, ("grpc.max_allowed_incoming_connections", max_connections))
        self._server = grpc.aio.server(
            options=options,
            compression=grpc.Compression.NoCompression,
            interceptors=(_Heads(self.door),),
        )

    def add(self, register: Callable[[S, Any], None], servicer: S) -> None:
        """``add(add_FleetServicer_to_server, servicer)``. Handlers are ``async``; streams are asynchronous
        generators, or coroutines that use ``context.read`` and ``context.write``. They raise ``MeshError``
        to refuse."""
        register(servicer, _Registrar(self._take))

    def _take(self, service: str, handlers: Mapping[str, Any]) -> None:
        guarded = {}
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            self._methods.append(method)
            guarded[name] = self._guard.wrap(method, handler)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))
        self._server.add_registered_method_handlers(service, guarded)

    async def start(self, listen: str) -> int:
        """Listens on ``HOST:PORT`` and returns the port, chosen by the kernel where 0 was given.

        Raises :class:`StateError` where the address cannot be had, ``RuntimeError`` where a method has no
        rule.
        """
        check_table(self._methods)
        credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(self._identity), self._fetch, require_client_authentication=True
        )
        try:
            port = self._server.add_secure_port(listen, credentials)
        except RuntimeError as error:
            raise StateError(f"cannot listen on {listen}: {_why_not(listen)}") from error
        await self._server.start()
        self.door.open(port)
        return port

    def _fetch(self) -> Any:
        """Asked by C-core at each handshake, in a thread of its own; None: as before."""
        identity = self._identity
        if identity is self._served:
            return None
        self._served = identity
        return _configuration(identity)

    def reload(self, identity: Identity) -> None:
        """Handshakes from now on show this certificate; live connections stay."""
        self._identity = identity

    def deny(self, serials: Iterable[str]) -> None:
        """As :meth:`revoke`, without looking for live calls: for the store's list at start."""
        self._guard.deny(serials)

    def revoke(self, peer_id: str, serials: Iterable[str] = ()) -> int:
        """Ends the live calls of ``peer_id`` (and of ``serials``) at once and refuses those certificates
        from now on."""
        return self._guard.revoke(peer_id, serials)

    def deny_operator(self, name: str, serials: Iterable[str] = ()) -> int:
        """As :meth:`revoke`, of a person or a laptop: whatever certificate it shows, until it joins anew."""
        return self._guard.deny_operator(name, serials)

    def deny_operators(self, names: Iterable[str], serials: Iterable[str]) -> int:
        """The whole list, in place of the names before; what they have open ends."""
        return self._guard.deny_operators(names, serials)

    def readmit_operator(self, name: str) -> None:
        self._guard.readmit_operator(name)

    def distrust(self, serials: Iterable[str]) -> int:
        """Refuses them over connections that are there already; TLS refuses new ones."""
        return self._guard.distrust(serials)

    def peers(self) -> tuple[Peer, ...]:
        """Who is being served, one entry a call."""
        return self._guard.live()

    def _cut_off(self, address: str, peer: Peer | None, why: str, times: int) -> None:
        who = calls.caller_of(peer) if peer is not None else Caller(address=address)
        self._audit(
            AuditRecord(
                time.time_ns(),
                "cut-off",
                AuditOutcome.CUT,
                who=who.who,
                who_id=who.who_id,
                certificate=who.certificate,
                address=who.address,
                detail=why,
                times=times,
            )
        )

    async def stop(self, grace_s: float = 0.5) -> None:
        """Ends every call with "shutting down". Sessions say goodbye before this is called: with a stream
        open grpc would wait all of its grace."""
        self._guard.close()
        self.door.close()
        await self._server.stop(grace_s)


class _Registrar:
    """Looks like a server to the generated ``add_…_to_server``, so that handlers are guarded on their way
    in."""

    def __init__(self, take: Callable[[str, Mapping[str, Any]], None]) -> None:
        self.add_registered_method_handlers = take

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Told twice by the generated code; the other call has the names."""


def _configuration(identity: Identity) -> Any:
    """The chain goes with its CA, so that a joiner can compare that with the hash in its token."""
    chain = identity.certificate_pem + identity.ca_pem
    return grpc.ssl_server_certificate_configuration([(identity.key_pem, chain)], identity.ca_pem)


def _why_not(listen: str) -> str:
    """grpc does not say; the kernel does."""
    host, port = split_host_port(listen)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.closing(socket.socket(family, kind, proto)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        return error.strerror or str(error)
    return f"grpc could not bind {join_host_port(host, port)}"

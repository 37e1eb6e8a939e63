"""A controller as a process: identity, lock, store, engine and servicers on one port, from start to drained
stop."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from probemesh.v1.enrol_pb2_grpc import add_EnrolmentServicer_to_server
from probemesh.v1.mesh_pb2_grpc import add_MeshServicer_to_server
from probemesh.v1.session_pb2_grpc import add_FleetServicer_to_server
from probemesh.v1.trust_pb2_grpc import add_TrustServicer_to_server
from probemesh_shared.clock import SystemClock
from probemesh_shared.errors import MeshError, StateError
from probemesh_shared.identity.files import Identity
from probemesh_shared.names import dial_address, join_host_port, split_host_port
from probemesh_shared.rpc.server import MeshServer
from probemesh_shared.words import AuditOutcome

from probemesh_controller import config
from probemesh_controller.api import IssuedToken, TokenRequest
from probemesh_controller.auditing import Trail
from probemesh_controller.engine import Engine, software
from probemesh_controller.enrolment import Enrolment
from probemesh_controller.limits import FILE as LIMITS_FILE
from probemesh_controller.limits import Limits
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.ca import Issuer
from probemesh_controller.pki.mesh import FIRST_OPERATOR, OPERATOR, load_controller, refresh_all
from probemesh_controller.pki.tokens import issue_token
from probemesh_controller.rotation import Rotation
from probemesh_controller.servicers import FleetService, MeshService
from probemesh_controller.store.copies import NAME as STORE
from probemesh_controller.store.lock import StateLock
from probemesh_controller.store.matrix.keeping import keep_up
from probemesh_controller.store.matrix.port import Retention
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_controller.store.worker import AsyncStore, StoreWorker
from probemesh_controller.trust import Operators, TrustService

log = logging.getLogger(__name__)

FOLDER = "controller"
#: Takes what is to be done on SIGHUP.
OnHangup = Callable[[Callable[[], None]], object]
#: How often our own certificates are looked at: that of the operator on this host lives twelve hours.
RENEW_EVERY_S = 3600.0
DRAIN_S = 5.0
#: For how long a certificate that has ended is remembered.
KEPT_NS = 90 * 86_400 * 1_000_000_000


async def serve(
    state: Path,
    listen: str,
    public: str | None,
    *,
    on_ready: Callable[[str], None],
    stop: asyncio.Event,
    on_hangup: OnHangup = lambda act: None,
    keep: Retention | None = None,
) -> None:
    """Runs until ``stop``; then drains, within 10 s. ``on_ready`` is told HOST:PORT by which it is reached,
    ``on_hangup`` what to do on SIGHUP. ``keep`` is how long history is kept.

    Raises StateError: no mesh here, another controller runs on it, a store that cannot be used, limits that
    cannot be read, an address that cannot be had; InvalidRequest for addresses that cannot be read.
    """
    split_host_port(listen, "address to listen on")
    if public is not None:
        public = dial_address(public, "public address")
    async with _controller(state, listen, public, on_hangup, keep or Retention()) as reached:
        on_ready(reached)
        await stop.wait()


@asynccontextmanager
async def _controller(
    state: Path, listen: str, public: str | None, on_hangup: OnHangup, keep: Retention
) -> AsyncIterator[str]:
    folder = state / FOLDER
    with contextlib.ExitStack() as held:
        if folder.is_dir():
            held.enter_context(StateLock(folder))
        ca, identity = await asyncio.to_thread(load_controller, state)
        limits = Limits(state / LIMITS_FILE)
        store = StoreWorker(*await asyncio.to_thread(_open_store, folder / STORE))
        tokens = _Tokens(ca, store)
        trail = Trail(folder)
        engine = Engine(identity.mesh, store, issue=tokens.issue, trail=trail)
        try:
            denied = await store.call(lambda s: s.revoked_serials())
            server = MeshServer(identity, denied_serials=denied, audit=trail)
            engine.on_revoked = server.revoke
            engine.fleet.narrow = limits.applied
            engine.runs.limited_by(limits.at_once, limits.budget_of)
            on_hangup(lambda: _read_again(limits, trail))
            server.add(add_FleetServicer_to_server, FleetService(engine))
            server.add(add_MeshServicer_to_server, MeshService(engine))
            operators = Operators(
                store,
                server,
                lambda owner: engine.runs.cancel_owner(owner, "revoked"),
                engine.fleet.tell,
                beside=state / OPERATOR,
            )
            rotation = Rotation(ca, state, store, server, engine.fleet.tell)
            engine.fleet.greet = lambda certificate: (operators.denied, *rotation.wanted(certificate))
            enrolment = Enrolment(
                ca, store, server.revoke, engine.fleet.connected, readmitted=operators.readmit
            )
            server.add(add_EnrolmentServicer_to_server, enrolment)
            server.add(add_TrustServicer_to_server, TrustService(operators, rotation))
            await operators.start(FIRST_OPERATOR)
            await rotation.start()
            port = await server.start(listen)
            renewing = asyncio.create_task(
                _renew(state, ca, store, server, identity, trail), name="certificate"
            )
            upkeep = asyncio.create_task(keep_up(store, SystemClock(), keep), name="upkeep")
            try:
                tokens.address = public or reached_by(listen, port)
                await asyncio.to_thread(_write_context, state, identity.mesh, tokens.address)
                engine.start()
                trail.tell("start", f"{software()} at {tokens.address}")
                yield tokens.address
                trail.tell("stop")
            finally:
                renewing.cancel()
                upkeep.cancel()
                await engine.drain("the controller is going away", DRAIN_S)
                await server.stop()
        finally:
            try:
                await engine.aclose()
            finally:
                await trail.aclose()


def _open_store(path: Path) -> tuple[SqliteStore, SqliteStore]:
    """One that writes, and one for questions that take long."""
    store = SqliteStore(path)
    try:
        return store, SqliteStore(path, asking=True)
    except StateError:
        store.close()
        raise


def _read_again(limits: Limits, trail: Trail) -> None:
    problem = limits.reload()
    outcome = AuditOutcome.OK if problem is None else AuditOutcome.REJECTED
    trail.tell("limits-read", problem or limits.said.in_words, outcome)


class _Tokens:
    """Makes tokens that carry the address by which we are reached, once that is known."""

    def __init__(self, ca: Issuer, store: AsyncStore) -> None:
        self._ca = ca
        self._store = store
        self.address = ""

    async def issue(self, request: TokenRequest, created_by: str) -> IssuedToken:
        return await self._store.call(
            lambda store: issue_token(self._ca, store, request, self.address, created_by)
        )


async def _prune(store: AsyncStore) -> None:
    """Certificates that ended long ago: operators alone leave a dozen a day."""
    before_ns = time.time_ns() - KEPT_NS
    try:
        await store.call(lambda s: s.prune_certificates(before_ns))
    except MeshError as error:
        log.warning("old certificates are not forgotten: %s", error)


async def _renew(
    state: Path, ca: Authority, store: AsyncStore, server: MeshServer, identity: Identity, trail: Trail
) -> None:
    """Our own certificate, long before it ends; live connections stay."""
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        await _prune(store)
        try:
            fresh = await asyncio.to_thread(refresh_all, ca, state)
        except MeshError as error:
            log.error("the controller's certificate could not be renewed: %s", error)
            continue
        if fresh.serial != identity.serial:
            identity = fresh
            server.reload(fresh)
            trail.tell("controller-renewed", f"certificate {fresh.serial}")
            log.info("the controller has a new certificate")


def reached_by(listen: str, port: int) -> str:
    """Where we listen, as others dial it: for a wildcard the address that this host's own packets carry."""
    host, _ = split_host_port(listen)
    if host == "0.0.0.0":  # noqa: S104 (read, not bound)
        host = _own_address(socket.AF_INET, "192.0.2.1") or "127.0.0.1"
    elif host == "::":
        host = (
            _own_address(socket.AF_INET6, "2001:db8::1") or reached_by("0.0.0.0:0", port).rpartition(":")[0]
        )
    return join_host_port(host, port)


def _own_address(family: socket.AddressFamily, towards: str) -> str | None:
    """By the kernel's routing alone: connecting a datagram socket sends nothing."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((towards, 9))
        return str(sock.getsockname()[0])
    return None


def _write_context(state: Path, mesh: str, address: str) -> None:
    """``STATE/config.toml`` points at us, so that it drives this mesh; what else is in it stays."""
    found = config.load(state / "config.toml")
    name = next((c.name for c in found.contexts.values() if c.mesh == mesh), mesh)
    before = found.contexts.get(name)
    context = config.MeshContext(
        name,
        mesh,
        before.identity if before is not None else state.absolute() / "operator",
        address,
        before.agents if before is not None else {},
    )
    if before != context:
        config.save(found.with_context(context, use=found.current is None))

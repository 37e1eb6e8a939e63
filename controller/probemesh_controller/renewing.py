"""How a laptop keeps its short certificate: a new key and a new one at a third of its life, by itself.

Where the CA's key is on the same machine (``meshctl init``, no controller running) it is asked; elsewhere the
controller is, with the longer-lived certificate of role ``renewal``. One process renews at a time.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path

from probemesh_shared.errors import CertificateRefused, MeshError, StateError
from probemesh_shared.identity.files import Identity, load_identity, renewing_identity
from probemesh_shared.rpc.explain import when
from probemesh_shared.words import OPERATORS

from probemesh_controller import folderlock
from probemesh_controller.castate import issuing_key

log = logging.getLogger(__name__)

_S = 1_000_000_000
#: What is left must do for the command that begins.
LEFT_NS = 600 * _S
#: Certificates of an earlier version live for months: they are exchanged at the first opportunity.
LONGEST_NS = 13 * 3600 * _S
LOCK_S = 15.0
#: A command shorter than this is not disturbed: it renews when it is over.
QUIET_S = 30.0
#: Seconds by which a renewal may hold up the end of a command, and the pause after one that failed.
END_S, AGAIN_S = 5.0, 300.0
#: How often a command that goes on for long looks at the date.
LOOK_S = 600.0


class Due(Enum):
    """``NOW``: nothing can be asked before; ``SOON``: a third of its life is over."""

    NO = auto()
    SOON = auto()
    NOW = auto()


def due(identity: Identity, now_ns: int) -> Due:
    if identity.role not in OPERATORS or now_ns < identity.not_before_ns:
        return Due.NO
    if now_ns >= identity.not_after_ns - LEFT_NS:
        return Due.NOW
    old = identity.not_after_ns - identity.not_before_ns > LONGEST_NS
    return Due.SOON if old or now_ns >= identity.renew_at_ns else Due.NO


async def usable(folder: Path, controller: str | None) -> Identity:
    """The identity in ``folder``, fit to begin a command with: renewed first where it cannot wait.

    Raises :class:`MeshError` where it has expired and cannot be renewed.
    """
    identity = load_identity(folder)
    wanted = due(identity, time.time_ns())
    if wanted is Due.NO or (wanted is Due.SOON and not _ca_beside(folder)):
        return identity
    try:
        return await renew(folder, controller)
    except MeshError:
        if time.time_ns() >= identity.not_after_ns:
            raise
        return identity


async def renew(folder: Path, controller: str | None, *, force: bool = False) -> Identity:
    """The identity in ``folder`` with a new key and certificate, or as another process just renewed it.

    ``force``: also where it is not due. Raises :class:`MeshError`."""
    async with _alone(folder):
        identity = load_identity(folder)
        if due(identity, time.time_ns()) is Due.NO and not force:
            return identity
        if _ca_beside(folder):
            from probemesh_controller.pki.mesh import refresh_beside

            return await asyncio.to_thread(refresh_beside, folder, force)
        return await _ask(folder, controller, identity)


def _ca_beside(folder: Path) -> bool:
    beside = folder.parent / "controller"
    return beside.is_dir() and os.access(issuing_key(beside), os.R_OK)


async def _ask(folder: Path, controller: str | None, identity: Identity) -> Identity:
    from probemesh_shared.identity.files import save_identity
    from probemesh_shared.identity.names import controller_dns
    from probemesh_shared.identity.request import request_in_child
    from probemesh_shared.rpc.client import connect
    from probemesh_shared.rpc.enrolling import renew as ask

    now_ns = time.time_ns()
    if controller is None:
        raise CertificateRefused(
            f"our certificate ({identity.role} {identity.name}) ends {when(identity.not_after_ns)}, and"
            " there is no controller in this context to renew it",
            "run the controller again, or join it anew: meshctl join HOST:PORT --token-file F",
        )
    asker = renewing_identity(identity)
    if now_ns >= asker.not_after_ns and now_ns >= identity.not_after_ns:
        raise CertificateRefused(
            f"our certificate ({identity.role} {identity.name}) expired {when(identity.not_after_ns)}, and"
            f" could be renewed until {when(asker.not_after_ns)}",
            f"ask an administrator for: meshctl operator create {identity.name} --role {identity.role};"
            " then meshctl join HOST:PORT --token-file F",
        )
    if now_ns >= asker.not_after_ns:
        asker = identity
    request = await request_in_child()
    async with connect(controller, asker, controller_dns(identity.mesh)) as connection:
        renewed = await ask(connection, request, identity)
    save_identity(folder, renewed)
    return renewed


@asynccontextmanager
async def _alone(folder: Path) -> AsyncIterator[None]:
    """Raises :class:`StateError` where the folder cannot be written, or another process takes too long."""
    with folderlock.opened(folder) as descriptor:
        end = time.monotonic() + LOCK_S
        while not folderlock.taken(descriptor):
            if time.monotonic() > end:
                raise StateError(f"another process renews the certificate in {folder}, and does not end")
            await asyncio.sleep(0.05)
        yield


class Keeper:
    """Renews beside a command, ``told`` of each new identity; what is due when it ends is done then."""

    def __init__(self, folder: Path, controller: str, told: Callable[[Identity], None]) -> None:
        self._folder = folder
        self._controller = controller
        self._told = told
        self._task = asyncio.create_task(self._keep(), name="renewal")

    async def _keep(self) -> None:
        pause = QUIET_S
        while True:
            await asyncio.sleep(pause)
            try:
                await self._look()
                pause = LOOK_S
            except (MeshError, OSError) as error:
                log.warning("the certificate was not renewed: %s", error)
                pause = AGAIN_S

    async def _look(self) -> None:
        if due(load_identity(self._folder), time.time_ns()) is not Due.NO:
            self._told(await renew(self._folder, self._controller))

    async def finish(self) -> None:
        """Renews now what is due, unless that takes long; never raises."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(END_S):
                await self._look()
        except (TimeoutError, MeshError, OSError) as error:
            log.info("the certificate was not renewed: %s", error)

"""How a host gets its certificate, and keeps it: join once with a token, renew with a new key at a third of
its life.

Keys and requests are made in a child (:mod:`probemesh_shared.identity.request`).

    STATE/agent/{ca.pem,cert.pem,key.pem,agent.toml}
"""

import asyncio
import logging
import random
import socket
import tomllib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from probemesh_shared.errors import InvalidRequest, MeshError, StateError
from probemesh_shared.identity.files import CERTIFICATE, Identity, load_identity, save_identity, write_private
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.identity.request import request_in_child
from probemesh_shared.names import dial_address, suggest_name
from probemesh_shared.words import Role

_log = logging.getLogger(__name__)

FOLDER, CONFIG = "agent", "agent.toml"
#: How often the date is looked at, and the shortest wait after a renewal that failed.
LOOK_S, RETRY_S = 3600.0, 300.0
#: A controller that wants renewals without end gets this many in that time.
MOST, SPAN_S = 8, 300.0


class Clock(Protocol):
    def wall_ns(self) -> int: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class AgentState:
    """What ``mesh-agent run`` starts from. ``controller`` is HOST:PORT; ``folder`` is STATE/agent."""

    identity: Identity
    controller: str
    folder: Path


async def join(
    state: Path, address: str, token_text: str, name: str | None = None, replace: bool = False
) -> AgentState:
    """Enrols this host and writes STATE/agent. Without ``name`` the host's own is wished for.

    Raises :class:`InvalidRequest` (token, name, address), :class:`StateError` (joined already, unless
    ``replace``), and what :func:`probemesh_shared.rpc.enrolling.enrol` raises.
    """
    from probemesh_shared.identity.token import decode_token  # brings hashlib

    token = decode_token(token_text)
    if token.role is not Role.AGENT:
        raise InvalidRequest(f"this token is for an {token.role}'s laptop", "use it with: meshctl join")
    folder = state / FOLDER
    if (folder / CERTIFICATE).exists() and not replace:
        raise StateError(
            f"this host has joined already: {folder} holds an identity",
            "start it with mesh-agent run, or give --replace to join again",
        )
    controller = dial_address(address)
    wanted = name or suggest_name(socket.gethostname())
    import json

    from probemesh_shared.rpc.enrolling import enrol  # grpc is loaded only where something is dialled

    identity = await enrol(controller, token, await request_in_child(), wanted, replace)
    lines = {"controller": controller, "mesh": identity.mesh, "name": identity.name}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    try:
        write_private(folder / CONFIG, text.encode())
        save_identity(folder, identity)
    except OSError as error:
        raise StateError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    return AgentState(identity, controller, folder)


def load_agent(state: Path) -> AgentState:
    """Raises :class:`StateError` where this host has not joined, or its files cannot be trusted."""
    folder = state / FOLDER
    if not (folder / CERTIFICATE).exists():
        raise StateError(
            f"this host has not joined a mesh: there is no identity in {folder}",
            "run mesh-agent join HOST:PORT --token-file F first, or give another --state",
        )
    identity = load_identity(folder)
    if identity.role is not Role.AGENT:
        raise StateError(f"the identity in {folder} is of role {identity.role}, not agent")
    try:
        controller = tomllib.loads((folder / CONFIG).read_text("utf-8"))["controller"]
        return AgentState(identity, dial_address(str(controller)), folder)
    except (OSError, ValueError, KeyError, InvalidRequest) as error:
        raise StateError(f"{folder / CONFIG} does not say where the controller is", "join again") from error


def renewal_due(identity: Identity, now_ns: int) -> bool:
    """From a third of its life on, and not once it is over: then only a new token helps."""
    return identity.renew_at_ns <= now_ns < identity.not_after_ns


async def renew(folder: Path, controller: str, identity: Identity, proxy: str | None = None) -> Identity:
    """A new key and certificate, written to ``folder``. Raises :class:`MeshError`; the old pair is then
    still good."""
    from probemesh_shared.rpc.client import connect
    from probemesh_shared.rpc.enrolling import renew as ask

    request = await request_in_child()
    async with connect(controller, identity, controller_dns(identity.mesh), proxy) as connection:
        renewed = await ask(connection, request, identity)
    save_identity(folder, renewed)
    return renewed


class Wanted:
    """The controller's wish that a certificate be renewed before it is due."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._within_s = 0.0

    def ask(self, within_s: float) -> None:
        self._within_s = min(within_s, LOOK_S)
        self._asked.set()

    async def within(self, seconds: float, clock: Clock) -> float | None:
        """In how many seconds it is wanted at the latest; None where nobody asked for ``seconds``."""
        asked, sleeping = (
            asyncio.ensure_future(self._asked.wait()),
            asyncio.ensure_future(clock.sleep(seconds)),
        )
        try:
            await asyncio.wait({asked, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            sleeping.cancel()
        if not self._asked.is_set():
            return None
        self._asked.clear()
        return self._within_s


async def keep_renewed(
    agent: AgentState,
    renewed: Callable[[Identity], None],
    clock: Clock,
    jitter: Callable[[], float] = random.random,
    proxy: str | None = None,
    wanted: Wanted | None = None,
) -> None:
    """Runs for as long as the agent: renews when due, or when the controller wants it, and tells ``renewed``,
    which dials anew with it when it suits.

    A renewal that fails is tried again after 5 to 65 minutes: there are twenty days for it.
    """
    identity = agent.identity
    wanted = wanted or Wanted()
    done: deque[float] = deque(maxlen=MOST)
    while True:
        if not renewal_due(identity, clock.wall_ns()):
            within_s = await wanted.within(LOOK_S, clock)
            if within_s is None:
                continue
            await clock.sleep(max(within_s * jitter(), _rest_s(done, clock.monotonic())))
        try:
            identity = await renew(agent.folder, agent.controller, identity, proxy)
        except (MeshError, OSError) as error:
            _log.warning("the certificate was not renewed: %s", error)
            await clock.sleep(RETRY_S + LOOK_S * jitter())
        else:
            _log.info("the certificate was renewed")
            renewed(identity)
        done.append(clock.monotonic())


def _rest_s(done: deque[float], now: float) -> float:
    """How long renewals that nobody needs have to wait; ``done`` are the instants of the last MOST."""
    return done[0] + SPAN_S - now if len(done) == MOST else 0.0

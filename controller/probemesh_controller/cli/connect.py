"""From the context in force to a :class:`probemesh_controller.api.Mesh`, and what ``self`` can be here."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from probemesh_shared.errors import InvalidRequest, MeshError, Unreachable
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo
from probemesh_shared.words import AgentState

from probemesh_controller import config
from probemesh_controller.api import Administration, Mesh
from probemesh_controller.cli import names_cache
from probemesh_controller.cli.flags import note

if TYPE_CHECKING:
    from probemesh_shared.identity.files import Identity

    from probemesh_controller.local import LocalMesh
    from probemesh_controller.remote import RemoteMesh

#: Seconds that a controller has to answer where agents stand by that can be dialled instead.
ANSWER_S = 3.0
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


@contextlib.asynccontextmanager
async def opened(context: config.MeshContext | None, with_self: bool = False) -> AsyncIterator[Mesh]:
    """The mesh of a context, closed at the end; without a context nothing but ``self``."""
    mesh = await open_mesh(context, with_self)
    try:
        yield mesh
    finally:
        await mesh.aclose()


async def open_mesh(context: config.MeshContext | None, with_self: bool) -> Mesh:
    """A controller's client, or the engine in this process over listening agents; ``self`` beside it."""
    forget_proxies()
    inner = None if context is None else await _inner(context)
    if not with_self and inner is not None:
        return inner
    from probemesh_controller.selfvantage import combine

    return combine(inner)


def controlled(context: config.MeshContext) -> config.MeshContext:
    """For what only a controller can do: dialling agents instead would be of no use."""
    return context if context.controller is None else replace(context, agents={})


async def _inner(context: config.MeshContext) -> Mesh:
    from probemesh_controller.renewing import usable

    identity = await usable(context.identity, context.controller)
    if context.controller is None:
        return await _dialled(identity, context)
    from probemesh_controller.remote import RemoteMesh

    mesh = RemoteMesh(context.controller, identity)
    mesh.keep_renewed(context.identity)
    away = await _away(mesh, context.controller) if context.agents else None
    if away is None:
        return mesh
    await mesh.aclose()
    note(
        f"note: the controller is away ({escape(str(away), 300)}): the listening agents of context"
        f" {context.name} are dialled from here; 'meshctl controller forget' stops asking it"
    )
    return await _dialled(identity, context)


async def _away(mesh: "RemoteMesh", address: str) -> Unreachable | None:
    """Why the controller cannot be asked, where it is away. One that refuses us is there, and will say so."""
    try:
        async with asyncio.timeout(ANSWER_S):
            await mesh.status()
    except TimeoutError:
        return Unreachable(f"{address} gives no answer within {ANSWER_S:g} s", "is it running?")
    except Unreachable as error:
        return error
    except MeshError:
        return None
    return None


@contextlib.asynccontextmanager
async def administration(context: config.MeshContext) -> "AsyncIterator[Administration]":
    """The controller of a context, for what only it can do. Raises :class:`InvalidRequest` without one."""
    if context.controller is None:
        raise InvalidRequest(
            f"the context {context.name} has no controller, which this needs",
            "run one: meshctl controller run",
        )
    async with opened(controlled(context)) as mesh:
        yield cast("Administration", mesh)  # what is opened by itself for a controller: RemoteMesh


@contextlib.asynccontextmanager
async def dialled(context: config.MeshContext) -> "AsyncIterator[LocalMesh]":
    """The listening agents of a context, whether or not it has a controller; closed at the end."""
    from probemesh_controller.renewing import usable

    forget_proxies()
    mesh = await _dialled(await usable(context.identity, context.controller), context)
    try:
        yield mesh
    finally:
        await mesh.aclose()


async def _dialled(identity: "Identity", context: config.MeshContext) -> "LocalMesh":
    from probemesh_controller.local import local_mesh

    return await local_mesh(identity, context.agents)


def forget_proxies() -> None:
    """Proxy variables are not obeyed by anything of ours; without them nothing below can obey them either."""
    for name in PROXIES:
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)


def self_available() -> bool:
    """Agents run on Linux; elsewhere ``self`` is left out."""
    return sys.platform.startswith("linux")


def remember_names(context: config.MeshContext | None, agents: Iterable[AgentInfo]) -> None:
    """Keeps names and sites for completion, which must not ask the network."""
    if context is not None:
        known = [agent for agent in agents if agent.state is not AgentState.REVOKED]
        cache = config.cache_dir(os.environ)
        names_cache.store(cache, context.name, [a.name for a in known], [a.site for a in known if a.site])

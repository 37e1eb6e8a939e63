"""From the context in force to a :class:`probemesh_controller.api.Mesh`, and what ``self`` can be here."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from probemesh_shared.model import AgentInfo
from probemesh_shared.words import AgentState

from probemesh_controller import config
from probemesh_controller.api import Mesh
from probemesh_controller.cli import names_cache

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


async def _inner(context: config.MeshContext) -> Mesh:
    from probemesh_shared.identity.files import load_identity

    identity = load_identity(context.identity)
    if context.controller is not None:
        from probemesh_controller.remote import RemoteMesh

        return RemoteMesh(context.controller, identity)
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


def identity_folder(state: Path) -> Path:
    return state / "operator"

"""Names of agents and sites as last seen, for completion: a small file a context, never the network."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

_MOST = 5000


def store(folder: Path, context: str, agents: Iterable[str], sites: Iterable[str]) -> None:
    """Keeps them; a cache that cannot be written is no error."""
    path = _path(folder, context)
    temporary = path.with_suffix(f".{os.getpid()}.new")
    data = {"agents": sorted(set(agents))[:_MOST], "sites": sorted(set(sites))[:_MOST]}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_text(json.dumps(data))
        temporary.replace(path)
    except OSError:
        return


def load(folder: Path, context: str) -> tuple[list[str], list[str]]:
    """(agents, sites), empty where nothing is remembered."""
    try:
        data = json.loads(_path(folder, context).read_text())
        return [str(name) for name in data["agents"]], [str(site) for site in data["sites"]]
    except (OSError, ValueError, KeyError, TypeError):
        return [], []


def _path(folder: Path, context: str) -> Path:
    safe = "".join(char if char.isalnum() or char in "-_." else "_" for char in context)
    return folder / f"names-{safe[:100]}.json"

"""Where an agent keeps its state."""

import os
from collections.abc import Mapping
from pathlib import Path


def default_state(environ: Mapping[str, str] = os.environ) -> Path:
    """systemd's ``STATE_DIRECTORY`` (the first of several), else the XDG state directory."""
    if folder := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(folder)
    home = Path(environ.get("HOME") or "/")
    return Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "probemesh"

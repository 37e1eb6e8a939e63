"""``mesh-agent join``: a token from a file or stdin, an identity in the state directory."""

import asyncio
import sys
from pathlib import Path

from probemesh_shared.errors import InvalidRequest

from probemesh_agent import enrol

_MAX_TOKEN = 16 << 10


def join(state: Path, controller: str, token_file: str, name: str | None, *, replace: bool) -> str:
    """Returns what to tell the user; raises :class:`probemesh_shared.errors.MeshError`."""
    joined = asyncio.run(enrol.join(state, controller, read_token(token_file), name, replace))
    identity = joined.identity
    return f"joined mesh {identity.mesh} as {identity.name}; start it with: mesh-agent run --state {state}"


def read_token(source: str) -> str:
    """The token in a file, or on stdin for ``-``. Raises :class:`InvalidRequest`."""
    try:
        if source == "-":
            text = sys.stdin.read(_MAX_TOKEN)
        else:
            with Path(source).open(encoding="utf-8") as file:
                text = file.read(_MAX_TOKEN)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise InvalidRequest(f"the token file {source} cannot be read: {why}") from error
    if not text.strip():
        where = "stdin" if source == "-" else source
        raise InvalidRequest(
            f"there is no token in {where}", "write the token of `meshctl token create` there"
        )
    return text.strip()

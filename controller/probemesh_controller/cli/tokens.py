"""What ``token create`` and ``operator create`` share: ask the controller, print one pasteable line."""

import re
import shlex

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.jsonout import token_to_json
from probemesh_shared.moments import time_text

from probemesh_controller.api import IssuedToken, TokenRequest
from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import note, required_context, say
from probemesh_controller.cli.output import Format, print_value

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str, what: str) -> int:
    """``90s``, ``15m``, ``1h``, ``2d`` in seconds."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd]?)", text)
    if not found or int(found[1]) == 0:
        raise InvalidRequest(f"{what} '{escape(text, 40)}' is no duration", "for example 15m, 1h or 2d")
    return int(found[1]) * _UNITS[found[2] or "s"]


async def ask_token(request: TokenRequest) -> IssuedToken:
    async with connect.opened(connect.controlled(required_context())) as mesh:
        return await mesh.create_token(request)


def join_command(program: str, issued: IssuedToken) -> str:
    """The token goes in by standard input: what stands in argv is seen by everybody on the host."""
    joined = f"{program} join {shlex.quote(issued.controller)} --token-file -"
    return (
        f"printf %s {shlex.quote(issued.token)} | {joined}"  # printf is the shell's own: no process, no argv
    )


def print_token(issued: IssuedToken, command: str, wanted: Format, about: list[str]) -> None:
    if wanted is not Format.TABLE:
        print_value(token_to_json(issued.token, issued.expires_ns, command), wanted)
        return
    say(command)
    for line in (*about, f"expires {time_text(issued.expires_ns)[:19]}Z"):
        note(line)

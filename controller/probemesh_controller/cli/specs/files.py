"""What options name by a file of this machine: read once, bounded, refused with the reason.

``-`` is stdin where credentials and bodies may come from it; only one option can have it."""

import base64
import os
import stat
import sys
from pathlib import Path

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape

_CREDENTIALS_MOST = 8 * 1024


def read_file(option: str, path: str, most: int, *, stdin: bool = False) -> bytes:
    """At most ``most`` bytes; ``-`` is stdin where ``stdin`` says so. Raises :class:`InvalidRequest`."""
    shown = escape(path, 200)
    try:
        if stdin and path == "-":
            data = sys.stdin.buffer.read(most + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(most + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidRequest(f"{option} {shown} cannot be read: {said}") from None
    if len(data) > most:
        raise InvalidRequest(f"{option} {shown} is larger than {most >> 10} KiB")
    return data


def basic(path: str, option: str) -> str:
    """``Basic …`` of a file with ``user:password`` in its first line."""
    line = _line(path, option)
    if ":" not in line:
        raise InvalidRequest(
            f"{option} {escape(path, 80)} has no ':' in its first line", "write user:password"
        )
    return "Basic " + base64.b64encode(line.encode()).decode("ascii")


def bearer(path: str, option: str) -> str:
    """``Bearer …`` of a file with a token in its first line."""
    token = _line(path, option)
    if not token.isascii() or any(not "!" <= char <= "~" for char in token):
        raise InvalidRequest(f"{option} {escape(path, 80)} has blanks or other bytes that no token has")
    return f"Bearer {token}"


def _line(path: str, option: str) -> str:
    shown = escape(path, 80)
    _open_to_others(path, option)
    try:
        text = read_file(option, path, _CREDENTIALS_MOST, stdin=True).decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{option} {shown} is not UTF-8 text") from None
    line = text.partition("\n")[0].removesuffix("\r")
    if not line:
        raise InvalidRequest(f"{option} {shown} is empty", "its first line holds the credentials")
    if not line.isprintable():
        raise InvalidRequest(f"{option} {shown} has control characters in its first line")
    return line


def _open_to_others(path: str, option: str) -> None:
    """A word where anybody on this machine can read credentials."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as it was typed
    except OSError:
        return
    if path != "-" and stat.S_ISREG(mode) and mode & 0o077:
        from probemesh_controller.cli.flags import note

        note(f"warning: {option} {escape(path, 80)} can be read by others: chmod 600")

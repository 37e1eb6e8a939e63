"""The text of a file that people wrote, read as it may be: bounded, and UTF-8."""

from collections.abc import Callable
from pathlib import Path

from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.escape import escape

from probemesh_controller.meshes.model import Problem

MOST_BYTES = 1 << 20

#: Makes the refusal of a file from its name, as people are told it, and what is wrong with it.
Refuse = Callable[[str, tuple[Problem, ...]], InvalidRequest]


def load_text(path: Path, refuse: Refuse) -> tuple[str, str]:
    """The file's name for people, and its text. Raises what ``refuse`` makes, and :class:`StateError` for
    what cannot be opened."""
    name = escape(str(path), 200)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise StateError(f"{name} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if len(data) > MOST_BYTES:
        raise refuse(name, (Problem(None, "it is larger than 1 MiB"),))
    try:
        return name, data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse(name, (Problem(line, "it is not UTF-8"),)) from error

"""Operators that this agent turns away although their certificates have not ended: told by the controller,
kept over restarts, for laptops that dial a listening agent directly.

    STATE/agent/denied        one a line: ``serial 4f2a…`` or ``name bob``
"""

import logging
import re
from pathlib import Path

from probemesh_shared.identity.files import write_private
from probemesh_shared.session.frames import DenyList

logger = logging.getLogger(__name__)

FILE = "denied"
_LINE = re.compile(r"(serial [0-9a-f]{1,64}|name [a-z0-9.-]{1,63})")
_MAX_FILE = 2 << 20


def load(folder: Path) -> DenyList:
    """What was told last. A file that cannot be read is as one that is not there, said in the log: the
    controller tells it again with the next session."""
    try:
        with (folder / FILE).open(encoding="ascii") as file:
            lines = file.read(_MAX_FILE).splitlines()
    except FileNotFoundError:
        return DenyList()
    except (OSError, UnicodeDecodeError) as error:
        logger.warning("the list of operators to turn away cannot be read: %s", error)
        return DenyList()
    return _parsed(lines)


def save(folder: Path, told: DenyList) -> DenyList:
    """Written, and what of it is well formed. Raises ``OSError``."""
    kept = _parsed([*(f"serial {one}" for one in told.serials), *(f"name {one}" for one in told.names)])
    lines = [*(f"serial {one}" for one in kept.serials), *(f"name {one}" for one in kept.names)]
    write_private(folder / FILE, "".join(f"{line}\n" for line in lines).encode("ascii"))
    return kept


def _parsed(lines: list[str]) -> DenyList:
    good = [line.split() for line in lines if _LINE.fullmatch(line)]
    serials = tuple(value for kind, value in good if kind == "serial")
    return DenyList(serials, tuple(value for kind, value in good if kind == "name"))

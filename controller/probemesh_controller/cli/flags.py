"""What the options common to all commands said, and what follows from them and the environment."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from probemesh_shared.escape import escape

if TYPE_CHECKING:  # loaded inside the functions: --help needs none of it
    from probemesh_controller.config import Config, MeshContext


@dataclass(slots=True)
class Flags:
    context: str | None = None
    config: Path | None = None
    color: bool | None = None
    debug: bool | None = None
    arguments: tuple[str, ...] = ()  # the whole command line, as typed

    def reset(self, arguments: Sequence[str] = ()) -> None:
        self.context = self.config = self.color = self.debug = None
        self.arguments = tuple(arguments)


FLAGS = Flags()
_NOT_CI = frozenset({"", "0", "false", "no", "off"})


def load_config() -> "Config":
    from probemesh_controller import config

    return config.load(config.config_path(FLAGS.config, os.environ)[0])


def chosen_context() -> "MeshContext | None":
    """The context in force; None where none is configured."""
    from probemesh_controller import config

    return config.choose(load_config(), FLAGS.context, os.environ)[0]


def required_context() -> "MeshContext":
    from probemesh_controller import config

    settings = load_config()
    return config.require(config.choose(settings, FLAGS.context, os.environ)[0], settings)


def is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def use_color(stream: TextIO, ci: bool = False) -> bool:
    """``--color``/``--no-color``, then NO_COLOR, CI and FORCE_COLOR, then whether it is a terminal."""
    if FLAGS.color is not None:
        return FLAGS.color
    if os.environ.get("NO_COLOR") or in_ci(ci):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def may_redraw(stream: TextIO, ci: bool = False) -> bool:
    return is_terminal(stream) and not in_ci(ci)


def in_ci(asked: bool = False) -> bool:
    """``--ci``, or ``CI`` in the environment; ``CI=``, ``CI=0`` and ``CI=false`` say that it is none."""
    return asked or os.environ.get("CI", "").strip().lower() not in _NOT_CI


def note(text: str) -> None:
    """One line for people, on stderr; safe to show, whoever wrote it."""
    print(escape(text), file=sys.stderr, flush=True)


def say(text: str) -> None:
    """One line of an answer, on stdout; safe to show, whoever wrote it."""
    print(escape(text), flush=True)


def draw(text: str) -> None:
    """One line on stderr in the place of the one drawn before, for a terminal; :func:`undraw` ends it."""
    print(f"\r\x1b[K{escape(text)}", end="", file=sys.stderr, flush=True)


def undraw() -> None:
    draw("")

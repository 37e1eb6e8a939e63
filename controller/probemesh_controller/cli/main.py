"""Entry point of ``meshctl``: the table of commands, errors as one line and a hint, exit codes.

Nothing heavy is imported here: ``meshctl --help`` is to cost little more than ``import typer``.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from probemesh_shared.errors import InvalidRequest, MeshError
from probemesh_shared.escape import escape
from probemesh_shared.interrupts import INTERRUPTED, hush, raise_again
from probemesh_shared.undumped import undumped
from typer.main import get_command

from probemesh_controller.cli import streams
from probemesh_controller.cli.flags import FLAGS, note
from probemesh_controller.cli.lazy import LazyGroup, help_text

_C = "probemesh_controller.cli"
SECTIONS = {
    "Start": {
        "demo": (f"{_C}.demo", "A controller and three agents on this machine, to look round"),
        "init": (f"{_C}.init", "Make a mesh: its CA, your identity, a context pointing at it"),
        "join": (f"{_C}.join", "Make this laptop an operator of a mesh, by a token"),
        "doctor": (f"{_C}.doctor", "Find what is wrong with this laptop's set-up, and say how to mend it"),
    },
    "Measure": {
        "probe": (f"{_C}.probe", "Who reaches a target, how fast, and which rung fails where"),
        "diagnose": (f"{_C}.diagnose", "Which direction, hop and mechanism fails between two agents"),
        "trace": (f"{_C}.trace", "The way to a target hop by hop; to an agent there and back"),
        "matrix": (f"{_C}.matrix", "Who reaches whom: every pair of a mesh in one grid"),
        "nat": (f"{_C}.nat", "What the NAT or firewall in front of each agent does"),
        "check": (f"{_C}.check", "Hold a contract against reality: what must connect, and what must not"),
        "history": (f"{_C}.history", "Earlier runs: list them, show one again"),
        "modules": (f"{_C}.modules", "Probes saved under a name: list and show them"),
    },
    "Run the mesh": {
        "controller": (f"{_C}.controller", "Run the controller"),
        "token": (f"{_C}.token", "Make the one line that joins a host"),
        "agents": (f"{_C}.agents", "List, show, add, label and revoke agents"),
        "operator": (f"{_C}.operator", "Let other people and laptops in, list and revoke them"),
        "audit": (f"{_C}.audit", "Who asked for what, and what came of it"),
        "context": (f"{_C}.context", "Which mesh is meant: list, use, show, rename and remove contexts"),
    },
    "Other": {
        "completion": (f"{_C}.completion", "Print the completion script of your shell"),
        "help": (f"{_C}.help", "Pages that belong to no single command"),
        "version": (f"{_C}.version", "Print the version"),
    },
}
EXAMPLES = [
    ("meshctl demo", "see it work"),
    ("meshctl probe db.internal:5432", "from every agent, and from here"),
    ("meshctl probe https://example.org/ --from site=x", "from one site"),
    ("meshctl diagnose web-1 db-1 --tcp 5432", "both ends: what fails where, and the proof"),
    ("meshctl probe web:22,80,443 -o json", "for scripts"),
]


class RootGroup(LazyGroup):
    sections = SECTIONS

    def invoke(self, ctx: Any) -> Any:
        """An interrupt that no command took for its own affair: nobody goes away without a word."""
        try:
            raise_again()
            return super().invoke(ctx)
        except KeyboardInterrupt:
            hush()
            note("interrupted")
            return INTERRUPTED


app = typer.Typer(
    cls=RootGroup,
    help=help_text(
        "It works from here but not from there: probe a target from every host at once.",
        EXAMPLES,
        "What the exit code means: meshctl help exit-codes",
    ),
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
def root() -> None:
    """Holds the common options; the commands do the work."""


def exit_code_of(error: MeshError) -> int:
    """2 for wrong use, 4 for everything that kept us from measuring (DESIGN §6)."""
    return 2 if isinstance(error, InvalidRequest) else 4


def report(message: str, hint: str | None = None) -> None:
    print(f"error: {escape(message, 2000)}", file=sys.stderr)
    if hint:
        print(f"hint: {escape(hint, 2000)}", file=sys.stderr)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; returns its exit code."""
    FLAGS.reset(arguments)
    if "_MESHCTL_COMPLETE" in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except streams.CannotWrite as error:
        _trace()
        if not error.reader_gone:  # there is nobody to tell
            report(str(error), streams.HINT)
        streams.give_up()
        return 4


def _run(arguments: Sequence[str]) -> int:
    try:
        result = get_command(app).main(args=list(arguments), prog_name="meshctl", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except MeshError as error:
        _trace()
        report(str(error), error.hint)
        return exit_code_of(error)
    except streams.CannotWrite:
        raise
    except Exception as error:
        return _unexpected(error)


def _trace() -> None:
    if FLAGS.debug:
        import traceback

        traceback.print_exc()


def _unexpected(error: Exception) -> int:
    if hasattr(error, "format_message"):  # typer's own usage errors
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 2
        path = context.command_path if context is not None else "meshctl"
        report(error.format_message(), f"{path} --help")
        return 2
    _trace()
    report(
        f"meshctl has a fault of its own: {type(error).__name__}: {error}",
        "run it again with --debug, and report it",
    )
    return 4


def main() -> None:
    undumped()
    streams.guard()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

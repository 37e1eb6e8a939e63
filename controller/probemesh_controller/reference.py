"""``docs/reference/cli.md``, generated from the commands themselves.

``python -m probemesh_controller.reference`` writes it; with ``--check`` it only says whether it is stale.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from probemesh_controller.cli.expecting import page
from probemesh_controller.cli.help import EXIT_CODES
from probemesh_controller.cli.main import app

PATH = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
WIDTH = 100
_HEAD = "# meshctl\n\nGenerated from the code by `python -m probemesh_controller.reference`; do not edit.\n"


def commands() -> Iterator[tuple[str, Any, Any]]:
    """(name as typed, command, its context), the root first, every command there is."""
    root = get_command(app)
    context: Any = root.context_class(
        root, info_name="meshctl", terminal_width=WIDTH, max_content_width=WIDTH
    )
    yield from _below("meshctl", root, context)


def _below(name: str, command: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    context.help_option_names = ["-h", "--help"]
    yield name, command, context
    if hasattr(command, "list_commands"):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            inner = child.context_class(child, info_name=child_name, parent=context)
            yield from _below(f"{name} {child_name}", child, inner)


def render() -> str:
    parts = [_HEAD]
    for name, command, context in commands():
        help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"## {name}\n\n```text\n{help_text}\n```\n")
    parts.append(f"## Expectations\n\n```text\n{page()}```\n")
    parts.append(f"## Exit codes\n\n```text\n{EXIT_CODES}```\n")
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    text = render()
    if "--check" in arguments:
        if not PATH.exists() or PATH.read_text("utf-8") != text:
            print("stale: {PATH.name}; run python -m probemesh_controller.reference", file=sys.stderr)
            return 1
        return 0
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

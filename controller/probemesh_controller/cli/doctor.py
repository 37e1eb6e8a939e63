"""``meshctl doctor``: what is wrong with this laptop's set-up, and what mends it."""

from typing import Annotated

import typer

from probemesh_controller.cli.lazy import MeshCommand, help_text
from probemesh_controller.cli.output import Format

EXAMPLES = [("meshctl doctor", "a line a check, a fix for what is wrong"), ("meshctl doctor -o json", "")]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=MeshCommand, help=help_text("Find what is wrong with this laptop's set-up.", EXAMPLES))
def doctor(
    output: Annotated[
        Format, typer.Option("--output", "-o", metavar="FORMAT", help="table, json or yaml")
    ] = Format.TABLE,
) -> int:
    import asyncio

    from probemesh_controller.cli.checks import run_checks, show

    checks = asyncio.run(run_checks())
    show(checks, output)
    return 4 if any(check["status"] == "failed" for check in checks) else 0

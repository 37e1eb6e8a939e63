"""``meshctl demo``: everything at once on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from probemesh_controller.cli.lazy import MeshCommand, help_text

EXAMPLES = [
    ("meshctl demo", "a web server with one rung broken for one agent"),
    ("meshctl demo 127.0.0.1:22", "another target"),
    ("meshctl demo --hold", "keep it up, and drive it from another shell"),
]
MORE = "Runs a controller and three agents by the real code path, probes, prints, and leaves nothing behind."

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=MeshCommand, help=help_text("See it work, without anything set up.", EXAMPLES, MORE))
def demo(
    target: Annotated[str | None, typer.Argument(metavar="[TARGET]")] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Keep it running until Ctrl-C")] = False,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep its state here, and not in a temporary folder")
    ] = None,
) -> int:
    import asyncio

    from probemesh_shared.targets import parse_target

    from probemesh_controller.cli.connect import forget_proxies
    from probemesh_controller.demo import run_demo

    if target is not None:
        parse_target(target)
    forget_proxies()
    return asyncio.run(run_demo(target, hold=hold, state=state))

"""``meshctl controller``: the process that holds the fleet."""

from pathlib import Path
from typing import Annotated

import typer

from probemesh_controller.cli import ca
from probemesh_controller.cli.lazy import MeshCommand, MeshGroup, help_text
from probemesh_controller.cli.output import Format, OutputOption

EXAMPLES = [
    ("meshctl controller run", "listens on 0.0.0.0:7400"),
    ("meshctl controller run --listen 10.0.0.5:7400 --public mesh.example:7400", "behind a name"),
]
LIMITS = [("meshctl controller limits --state DIR", "what is narrowed, and how much may be sent")]
CHECK = [
    ("meshctl controller check-config meshes.toml", "what it declares, and what that comes to"),
    ("meshctl controller check-config meshes.toml --offline -o json", "in CI, without a mesh"),
]
CHECK_MORE = """Everything that is wrong with the file is told at once, each with its line and what to write
instead. Where a mesh is configured, its agents are asked for: then selectors that mean nobody and budgets
that are exceeded are told as well.

The exit code is 0 where all is well, 1 where the file can be read but means an agent that is not there or
exceeds a budget, 2 where it cannot be read."""
BACKUP = [("meshctl controller backup mesh.backup", "")]
NOT_IN_IT = (
    "In it are agents, operators, tokens, certificates' numbers, runs and history; not the CA's key"
    " (meshctl controller ca export), limits.toml and the audit log. The copy is looked"
    " through before it gets its name."
)
STILL_REVOKED = (
    "A file that is damaged, newer than this program or none of ours is refused. Who was revoked since it was"
    " made stays revoked, tokens that were used stay used."
)
FORGET = [("meshctl controller forget", "its listening agents are dialled from here")]

State = Annotated[Path | None, typer.Option(metavar="DIR", help="State directory  [MESHCTL_STATE]")]

app = typer.Typer(
    cls=MeshGroup,
    help=help_text("Run the controller, or do without one.", [*EXAMPLES, *FORGET]),
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)


app.add_typer(ca.app, name="ca")


@app.callback()
def controllers() -> None:
    """Holds the sub-commands."""


@app.command(cls=MeshCommand, help=help_text("Run the controller until SIGTERM or Ctrl-C.", EXAMPLES))
def run(
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="State directory  [MESHCTL_STATE]")
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 is any", show_default=True)
    ] = "0.0.0.0:7400",
    public: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="How others reach it; tokens carry this")
    ] = None,
    retention: Annotated[
        str | None,
        typer.Option(metavar="raw=24h,…", help="How long history is kept: raw, minutes=7d, hours=400d"),
    ] = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="Save what can be read of a damaged store, and say what is lost")
    ] = False,
) -> int:
    import asyncio
    import os

    from probemesh_controller import config
    from probemesh_controller.cli import storing
    from probemesh_controller.cli.connect import forget_proxies
    from probemesh_controller.cli.serving import run_controller

    folder, keep = config.state_dir(state, os.environ), storing.parse_retention(retention)
    if recover:
        storing.recovered(folder)
    forget_proxies()
    return asyncio.run(run_controller(folder, listen, public, keep))


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Copy the store to a new file, whether the controller on this host runs or not.", BACKUP, NOT_IN_IT
    ),
)
def backup(file: Annotated[Path, typer.Argument(metavar="FILE")], state: State = None) -> None:
    from probemesh_controller.cli import storing

    storing.back_up(file, state)


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Put such a file in the store's place, while no controller runs; what was there is kept beside it.",
        [("meshctl controller restore mesh.backup", "")],
        STILL_REVOKED,
    ),
)
def restore(file: Annotated[Path, typer.Argument(metavar="FILE")], state: State = None) -> None:
    from probemesh_controller.cli import storing

    storing.restore(file, state)


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Give the room back that forgotten history has left, while no controller runs.",
        [("meshctl controller compact", "")],
        "It takes as much room again, for as long as it works.",
    ),
)
def compact(state: State = None) -> None:
    from probemesh_controller.cli import storing

    storing.compact(state)


@app.command(
    cls=MeshCommand,
    help=help_text("Check limits.toml of a controller on this host, and show what it says.", LIMITS),
)
def limits(
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="State directory  [MESHCTL_STATE]")
    ] = None,
) -> None:
    import os

    from probemesh_controller import config
    from probemesh_controller.cli.limiting import show_limits

    show_limits(config.state_dir(state, os.environ))


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Take the controller out of the context in force: its listening agents are dialled from here.", FORGET
    ),
)
def forget() -> None:
    from probemesh_controller.cli import fleet

    fleet.forget_controller()


@app.command(
    "check-config",
    cls=MeshCommand,
    help=help_text("Check a file of meshes and schedules, and explain it.", CHECK, CHECK_MORE),
)
def check_config(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    offline: Annotated[bool, typer.Option("--offline", help="Ask no mesh who is there")] = False,
    output: OutputOption = Format.TABLE,
) -> int:
    import asyncio

    from probemesh_controller.cli.checking import check_config

    return asyncio.run(check_config(file, offline, output))

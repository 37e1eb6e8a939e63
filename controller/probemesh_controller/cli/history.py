"""``meshctl history``: earlier runs, as this laptop keeps them."""

from typing import Annotated

import typer

from probemesh_controller.cli import complete
from probemesh_controller.cli.lazy import MeshCommand, MeshGroup, help_text
from probemesh_controller.cli.output import Format

EXAMPLES = [
    ("meshctl history", "the newest 20 runs of this context"),
    ("meshctl history list --target 'db.*' --limit 100", "those of some targets"),
    ("meshctl history show", "the last run again"),
    ("meshctl history show 7f3a -o json", "one by the beginning of its id"),
    ("meshctl history show --share", "a text to paste into a ticket"),
]
MORE = """Every meshctl probe is kept on this machine, by context: the newest 500 runs, 64 MiB at most, in
history/ beside a configuration that --config or MESHCTL_CONFIG names, else in
$XDG_STATE_HOME/meshctl/history. MESHCTL_HISTORY=DIR puts them elsewhere, MESHCTL_HISTORY=off keeps none.
TARGETs are kept whole, with the query of a URL; --share shows it as ?…."""
Output = Annotated[
    Format, typer.Option("--output", "-o", metavar="FORMAT", help="table, wide, json, jsonl, csv or yaml")
]
Limit = Annotated[int, typer.Option(metavar="N", help="At most N runs", show_default=True)]
TargetGlob = Annotated[
    str | None, typer.Option("--target", metavar="GLOB", help="Only runs with a TARGET like this")
]

app = typer.Typer(
    cls=MeshGroup,
    help=help_text("Earlier runs: list them, show one again.", EXAMPLES, MORE),
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def default(
    context: typer.Context, limit: Limit = 20, target: TargetGlob = None, output: Output = Format.TABLE
) -> None:
    if context.invoked_subcommand is None:
        list_(limit=limit, target=target, output=output)


@app.command(
    "list",
    cls=MeshCommand,
    help=help_text("List saved runs, newest first.", [("meshctl history list --limit 5 -o json", "")]),
)
def list_(limit: Limit = 20, target: TargetGlob = None, output: Output = Format.TABLE) -> None:
    from probemesh_controller.cli import earlier

    earlier.print_list(limit, target, output)


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Show a saved run as meshctl probe showed it.",
        [("meshctl history show", "the last one"), ("meshctl history show 7f3a --share", "")],
        "RUN is an id, the beginning of one, or @last. The exit code is that of showing it: 0.",
    ),
)
def show(
    run: Annotated[str, typer.Argument(metavar="[RUN]", autocompletion=complete.runs)] = "@last",
    share: Annotated[
        bool, typer.Option("--share", help="Print a text to paste into a ticket; nothing is sent anywhere")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    from probemesh_controller.cli import earlier

    earlier.show(run, share, output)

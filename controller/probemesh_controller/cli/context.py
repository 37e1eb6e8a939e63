"""``meshctl context``: which mesh is meant."""

from dataclasses import replace
from typing import Annotated

import typer
from probemesh_shared.names import check_name

from probemesh_controller.cli import complete
from probemesh_controller.cli.flags import FLAGS, load_config, say
from probemesh_controller.cli.lazy import MeshGroup, help_text

EXAMPLES = [
    ("meshctl context", "list them; * is the current one"),
    ("meshctl context use staging", "from now on"),
    ("meshctl --context staging probe db:5432", "this once"),
    ("meshctl context show", "the one in force, and who said so"),
]

app = typer.Typer(
    cls=MeshGroup,
    help=help_text("List, choose and change contexts.", EXAMPLES),
    rich_markup_mode=None,
    add_completion=False,
)
Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.contexts)]


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_()


@app.command("list", help="List the contexts.")
def list_() -> None:
    from probemesh_controller.cli.flags import note
    from probemesh_controller.cli.output import write
    from probemesh_controller.render.text import Cell, columns

    config = load_config()
    if not config.contexts:
        note(f"no contexts in {config.path}")
        return
    rows = [
        [
            Cell("*" if name == config.current else " "),
            Cell(name),
            Cell(context.mesh),
            Cell(context.controller or "–"),
            Cell(f"{len(context.agents)} dialled from here" if context.agents else ""),
        ]
        for name, context in sorted(config.contexts.items())
    ]
    write("\n".join(columns(["", "NAME", "MESH", "CONTROLLER", "AGENTS"], rows, 120, False)) + "\n")


@app.command(help="Make NAME the current context.")
def use(name: Name) -> None:
    from probemesh_controller.config import named, save

    config = load_config()
    named(config, name)
    save(replace(config, current=name))
    say(f"context {name} is now current in {config.path}")


@app.command(help="Show the context in force, and where each value comes from.")
def show() -> None:
    import os

    from probemesh_controller.config import choose, config_path, require

    config = load_config()
    context, source = choose(config, FLAGS.context, os.environ)
    context = require(context, config)
    say(f"context     {context.name}   ({source})")
    say(f"file        {config.path}   ({config_path(FLAGS.config, os.environ)[1]})")
    say(f"mesh        {context.mesh}")
    say(f"controller  {context.controller or '– (agents are dialled from here)'}")
    say(f"identity    {context.identity}")
    for agent, listening in sorted(context.agents.items()):
        say(f"agent       {agent} at {listening.address}")


@app.command(help="Give a context another name.")
def rename(name: Name, to: Annotated[str, typer.Argument(metavar="NEW")]) -> None:
    from probemesh_controller.cli.keeping import rename_history
    from probemesh_controller.config import named, save

    config = load_config()
    context = replace(named(config, name), name=check_name(to, "context name"))
    save(config.without_context(name).with_context(context, use=config.current == name))
    rename_history(name, to)
    say(f"context {name} is now called {to}")


@app.command(help="Remove a context; its identity stays on disk.")
def remove(name: Name) -> None:
    from probemesh_controller.config import named, save

    config = load_config()
    gone = named(config, name)
    save(config.without_context(name))
    say(f"context {name} is removed from {config.path}; its identity stays in {gone.identity}")

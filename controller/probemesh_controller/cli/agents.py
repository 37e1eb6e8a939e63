"""``meshctl agents``: the vantage points of a mesh."""

from typing import Annotated

import typer

from probemesh_controller.cli import complete
from probemesh_controller.cli.lazy import MeshCommand, MeshGroup, help_text
from probemesh_controller.cli.output import Format

EXAMPLES = [
    ("meshctl agents", "who is there"),
    ("meshctl agents show berlin-1", "all about one"),
    ("meshctl agents add lab-1 10.0.0.7:7401", "dial a listening agent"),
    ("meshctl agents label berlin-1 role=db rack-", "set role, remove rack"),
    ("meshctl agents revoke berlin-1", "its certificate is void"),
]
Output = Annotated[
    Format, typer.Option("--output", "-o", metavar="FORMAT", help="table, json, jsonl or yaml")
]
Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.agent_names)]

app = typer.Typer(
    cls=MeshGroup,
    help=help_text("List, show, add, label and revoke agents.", EXAMPLES),
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def default(context: typer.Context, output: Output = Format.TABLE) -> None:
    if context.invoked_subcommand is None:
        list_(output=output)


@app.command(
    "list", cls=MeshCommand, help=help_text("List the agents.", [("meshctl agents list -o json", "")])
)
def list_(output: Output = Format.TABLE) -> None:
    import asyncio

    from probemesh_controller.cli import fleet

    fleet.print_agents(asyncio.run(fleet.all_agents()), output)


@app.command(cls=MeshCommand, help=help_text("All about one agent.", [("meshctl agents show berlin-1", "")]))
def show(name: Name, output: Output = Format.TABLE) -> None:
    import asyncio

    from probemesh_controller.cli import fleet

    fleet.print_one(fleet.find(name, asyncio.run(fleet.all_agents())), output)


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Put a listening agent into the context: this laptop dials it, no controller needed.",
        [("meshctl agents add lab-1 10.0.0.7:7401", "")],
    ),
)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    address: Annotated[str, typer.Argument(metavar="HOST:PORT")],
    site: Annotated[str | None, typer.Option(metavar="SITE", help="Site to show and select it by")] = None,
) -> None:
    import asyncio

    from probemesh_shared.names import check_name, dial_address

    from probemesh_controller.cli import fleet

    place = check_name(site, "site") if site else None
    asyncio.run(fleet.add(check_name(name, "agent name"), dial_address(address), place))


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Change site and labels: KEY=VALUE sets one, KEY- removes it.",
        [
            ("meshctl agents label berlin-1 role=db rack-", ""),
            ("meshctl agents label berlin-1 --site fra", ""),
        ],
    ),
)
def label(
    name: Name,
    labels: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE|KEY-]...")] = None,
    site: Annotated[str | None, typer.Option(metavar="SITE", help="Another site")] = None,
) -> None:
    import asyncio

    from probemesh_controller.cli import fleet

    asyncio.run(fleet.label(name, labels or [], site))


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Make an agent's certificate void; it is cut off at once and must join again.",
        [("meshctl agents revoke berlin-1", "")],
    ),
)
def revoke(name: Name) -> None:
    import asyncio

    from probemesh_controller.cli import fleet

    asyncio.run(fleet.revoke(name))

"""``meshctl controller ca``: the mesh's own authority: changing it, and keeping its key elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from probemesh_controller.cli.lazy import MeshCommand, MeshGroup, help_text
from probemesh_controller.cli.output import Format

EXAMPLES = [
    ("meshctl controller ca", "which CA, how far a change is, who is behind"),
    ("meshctl controller ca rotate", "one step on to a new CA"),
    ("meshctl controller ca back", "one step back"),
    ("meshctl controller ca export ca.backup --passphrase-file p.txt", "its key, sealed"),
]
PHASES = (
    "steady -> trusted: a new CA is made, everybody learns to trust both. trusted -> issuing: the new one"
    " makes certificates. issuing -> dropped: the old one is trusted no more. finish: the old one is"
    " forgotten. Agents renew by themselves after each step; a step that would cut somebody off is refused."
)
KEY = (
    "The file is encrypted (scrypt, AES-256-GCM). Without its key the controller runs on and lets in whom it"
    " knows, but issues and renews nothing: operators last for 12 hours then, agents for 20 days or more."
)
Output = Annotated[Format, typer.Option("--output", "-o", metavar="FORMAT", help="table, json or yaml")]
Anyway = Annotated[
    bool, typer.Option("--anyway", help="Although somebody is cut off by it and must join again")
]
State = Annotated[Path | None, typer.Option(metavar="DIR", help="State directory  [MESHCTL_STATE]")]
Passphrase = Annotated[
    str, typer.Option("--passphrase-file", metavar="F|-", help="File of mode 0600 with it; - is stdin")
]

app = typer.Typer(
    cls=MeshGroup,
    help=help_text("Change the CA of the mesh, and keep its key apart.", EXAMPLES, PHASES),
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def default(context: typer.Context, output: Output = Format.TABLE) -> None:
    if context.invoked_subcommand is None:
        status(output=output)


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Which CAs there are, how far a change has come, and who is behind.",
        [("meshctl controller ca status -o json", "")],
    ),
)
def status(output: Output = Format.TABLE) -> None:
    import asyncio

    from probemesh_controller.cli import authority

    asyncio.run(authority.show(output))


@app.command(
    cls=MeshCommand,
    help=help_text("One step on to a new CA.", [("meshctl controller ca rotate", "")], PHASES),
)
def rotate(anyway: Anyway = False, output: Output = Format.TABLE) -> None:
    import asyncio

    from probemesh_controller.cli import authority

    asyncio.run(authority.step("forward", anyway, output))


@app.command(
    cls=MeshCommand, help=help_text("One step back to the old CA.", [("meshctl controller ca back", "")])
)
def back(anyway: Anyway = False, output: Output = Format.TABLE) -> None:
    import asyncio

    from probemesh_controller.cli import authority

    asyncio.run(authority.step("back", anyway, output))


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Forget the old CA and destroy its key: no way back from here.",
        [("meshctl controller ca finish", "in phase dropped")],
    ),
)
def finish(output: Output = Format.TABLE) -> None:
    import asyncio

    from probemesh_controller.cli import authority

    asyncio.run(authority.step("finish", False, output))


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Write the CA and its key to a file, sealed with a passphrase.",
        [
            ("meshctl controller ca export ca.backup --passphrase-file p.txt", ""),
            (
                "meshctl controller ca export ca.backup --passphrase-file p.txt --remove",
                "and keep no key here",
            ),
        ],
        KEY,
    ),
)
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    passphrase_file: Passphrase,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the key here once the file is proved readable")
    ] = False,
    state: State = None,
) -> None:
    from probemesh_controller.cli import authority

    authority.export(file, passphrase_file, remove, state)


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Put the CA's key back from such a file; a running controller uses it at once.",
        [("meshctl controller ca restore ca.backup --passphrase-file p.txt", "")],
    ),
)
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE")], passphrase_file: Passphrase, state: State = None
) -> None:
    from probemesh_controller.cli import authority

    authority.restore(file, passphrase_file, state)

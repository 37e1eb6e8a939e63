"""``meshctl operator``: let another person or laptop in."""

from typing import Annotated

import typer

from probemesh_controller.cli.lazy import MeshCommand, MeshGroup, help_text
from probemesh_controller.cli.output import Format

EXAMPLES = [
    ("meshctl operator create alice", "prints the line for her laptop"),
    ("meshctl operator create wallboard --role viewer", "may look, not measure"),
    ("meshctl operator list", "who may, and until when"),
    ("meshctl operator revoke alice", "cut off at once, here and at the agents"),
]
CREATE = EXAMPLES[:2]
LIFE = (
    "Certificates of operators live 12 hours and renew themselves when meshctl is used. A laptop that was"
    " shut for up to 30 days comes back by itself; after that it joins again."
)

app = typer.Typer(
    cls=MeshGroup,
    help=help_text("Let other people and laptops in, and out again.", EXAMPLES, LIFE),
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)


@app.callback()
def operators() -> None:
    """Holds the sub-commands."""


@app.command(cls=MeshCommand, help=help_text("Print the line that makes another laptop an operator.", CREATE))
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    role: Annotated[
        str, typer.Option(metavar="ROLE", help="viewer, operator or admin", show_default=True)
    ] = "operator",
    ttl: Annotated[str, typer.Option(metavar="1h", help="How long it may be used", show_default=True)] = "1h",
    output: Annotated[
        Format, typer.Option("--output", "-o", metavar="FORMAT", help="table, json, yaml")
    ] = Format.TABLE,
) -> None:
    import asyncio

    from probemesh_shared.errors import InvalidRequest
    from probemesh_shared.escape import escape
    from probemesh_shared.names import check_name, did_you_mean
    from probemesh_shared.words import Role

    from probemesh_controller.api import TokenRequest
    from probemesh_controller.cli.tokens import ask_token, join_command, parse_duration, print_token

    roles = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
    if role not in roles:
        hint = did_you_mean(role, roles) or "viewer, operator or admin"
        raise InvalidRequest(f"there is no operator role '{escape(role, 40)}'", hint)
    request = TokenRequest(Role(role), check_name(name, "operator name"), ttl_s=parse_duration(ttl, "--ttl"))
    issued = asyncio.run(ask_token(request))
    print_token(
        issued, join_command("meshctl", issued), output, [f"run this on the laptop of {name} ({role})"]
    )


@app.command(
    "list",
    cls=MeshCommand,
    help=help_text("List the operators, revoked ones too.", [("meshctl operator list -o json", "")]),
)
def list_(
    output: Annotated[
        Format, typer.Option("--output", "-o", metavar="FORMAT", help="table, json, jsonl or yaml")
    ] = Format.TABLE,
) -> None:
    import asyncio

    from probemesh_controller.cli import operators as shown

    shown.print_operators(asyncio.run(shown.all_operators()), output)


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Make an operator's certificates void: what it has open and running ends within seconds.",
        [("meshctl operator revoke alice", "")],
        "To let the same person in again, create the operator anew. The last administrator stays.",
    ),
)
def revoke(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    import asyncio

    from probemesh_shared.names import check_name

    from probemesh_controller.cli import operators as shown

    asyncio.run(shown.revoke(check_name(name, "operator name")))


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Renew this laptop's own certificate now; it does so by itself when it is due.",
        [("meshctl operator renew", "after a change of the CA, say")],
    ),
)
def renew() -> None:
    import asyncio

    from probemesh_controller.cli import operators as shown

    asyncio.run(shown.renew_own())

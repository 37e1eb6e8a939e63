"""``meshctl token``: the one line that joins a host."""

from typing import Annotated

import typer

from probemesh_controller.cli.lazy import MeshCommand, MeshGroup, help_text
from probemesh_controller.cli.output import Format

EXAMPLES = [
    ("meshctl token create --name berlin-1 --site berlin", ""),
    ("meshctl token create --site fra --uses 20 --ttl 12h", "for many hosts"),
    ("meshctl token create --only-network 10.1.0.0/16 --only-port 443", "may be asked no more than that"),
    ("meshctl token create -o json", "token, expires_at, command"),
]
MORE = "Paste the printed line on the host, then start mesh-agent run. The token is used up by that."

app = typer.Typer(
    cls=MeshGroup,
    help=help_text("Make tokens that join hosts.", EXAMPLES),
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)


@app.callback()
def tokens() -> None:
    """Holds the sub-command."""


@app.command(cls=MeshCommand, help=help_text("Print the one line that joins a host.", EXAMPLES, MORE))
def create(
    name: Annotated[str | None, typer.Option(metavar="NAME", help="By default the host's own name")] = None,
    site: Annotated[str | None, typer.Option(metavar="SITE", help="Site of the host")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="K=V", help="Label; may be repeated")] = None,
    uses: Annotated[int, typer.Option(metavar="N", help="How many hosts may use it", show_default=True)] = 1,
    ttl: Annotated[str, typer.Option(metavar="1h", help="How long it may be used", show_default=True)] = "1h",
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Forget the agent when it leaves")] = False,
    only_network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="Its jobs probe these networks alone; repeat")
    ] = None,
    not_network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="And none of these; repeat")
    ] = None,
    only_name: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="These names alone, as *.db.internal; repeat")
    ] = None,
    only_port: Annotated[
        list[str] | None, typer.Option(metavar="P[-Q]", help="These ports alone; repeat")
    ] = None,
    only_kind: Annotated[
        list[str] | None, typer.Option(metavar="K", help="These kinds of probes alone; repeat")
    ] = None,
    output: Annotated[
        Format, typer.Option("--output", "-o", metavar="FORMAT", help="table, json, yaml")
    ] = Format.TABLE,
) -> None:
    import asyncio

    from probemesh_shared.names import check_name, parse_label

    from probemesh_controller.api import TokenRequest
    from probemesh_controller.cli.limiting import narrowing_of
    from probemesh_controller.cli.tokens import ask_token, join_command, parse_duration, print_token

    request = TokenRequest(
        name=check_name(name, "agent name") if name else None,
        site=check_name(site, "site") if site else None,
        labels=dict(parse_label(text) for text in label or ()),
        uses=uses,
        ttl_s=parse_duration(ttl, "--ttl"),
        ephemeral=ephemeral,
        narrow=narrowing_of(
            {
                "networks": only_network,
                "deny-networks": not_network,
                "names": only_name,
                "ports": only_port,
                "kinds": only_kind,
            }
        ),
    )
    issued = asyncio.run(ask_token(request))
    hosts = "one host" if uses == 1 else f"up to {uses} hosts"
    about = [f"run this on {hosts}, then start it there: mesh-agent run"]
    print_token(issued, join_command("mesh-agent", issued), output, about)

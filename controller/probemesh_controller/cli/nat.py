"""``meshctl nat``: how the NAT or firewall in front of each agent behaves, seen by the other agents."""

from typing import Annotated

import typer

from probemesh_controller.cli import complete
from probemesh_controller.cli.lazy import MeshCommand, help_text
from probemesh_controller.cli.output import Format, OutputOption

EXAMPLES = [
    ("meshctl nat", "every agent"),
    ("meshctl nat berlin-1", "one, with the others as reflectors"),
    ("meshctl nat site=berlin -o wide", "with the number of NATs, and by what it is known"),
    ("meshctl nat self", "the NAT in front of this machine"),
    ("meshctl nat berlin-1 --lifetime 150", "and how long a silent mapping lives"),
    ("meshctl nat -o json", "for scripts"),
]
MORE = """Each agent sends UDP to the others, which tell from what address and port it came: that is the
mapping behaviour (RFC 4787). Mappings that are fresh are knocked at from another port and from other
addresses: that is the filtering behaviour, of a plain firewall too. Two reflector addresses beyond the NAT
are needed to tell everything, a second agent behind it where it keeps source ports; with less the answer is
'undetermined', with what remains possible. It takes some 8 seconds.

SELECTOR is as in --from of meshctl probe; all agents where it is left out. The exit code is 0 where of every
agent it is known whether a NAT stands in front of it, 3 where of some, 1 where of none, 4 where nothing could
be sent: meshctl help exit-codes."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Selector = Annotated[str, typer.Argument(metavar="[SELECTOR]", autocompletion=complete.selectors)]
Exclude = Annotated[str | None, typer.Option(metavar="SELECTOR", help="Leave these out, last of all")]
Limit = Annotated[int | None, typer.Option(metavar="N", help="At most N agents, spread over sites")]
Ipv4 = Annotated[bool, typer.Option("-4", help="IPv4 only")]
Ipv6 = Annotated[bool, typer.Option("-6", help="IPv6 only; by default where there is no IPv4")]
Lifetime = Annotated[
    float | None,
    typer.Option(
        metavar="S", help="Find how long a silent mapping lives, up to S seconds; takes up to 2 × S"
    ),
]


@app.command(
    cls=MeshCommand,
    help=help_text("Say what the NAT or firewall in front of each agent does.", EXAMPLES, MORE),
)
def nat(
    selector: Selector = "all",
    exclude: Exclude = None,
    limit: Limit = None,
    ipv4: Ipv4 = False,
    ipv6: Ipv6 = False,
    lifetime: Lifetime = None,
    output: OutputOption = Format.TABLE,
) -> int:
    import asyncio

    from probemesh_controller.cli.natted import NatAsked, run_nat

    return asyncio.run(run_nat(NatAsked(selector, exclude, limit, ipv4, ipv6, lifetime, output)))

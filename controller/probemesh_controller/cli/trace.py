"""``meshctl trace``: the way to a target hop by hop; to an agent both ways, side by side."""

from typing import Annotated

import typer

from probemesh_controller.cli import complete
from probemesh_controller.cli.lazy import MeshCommand, help_text
from probemesh_controller.cli.output import Format, OutputOption

EXAMPLES = [
    ("meshctl trace berlin-1 db.internal:5432", "by TCP, to the very port"),
    ("meshctl trace berlin-1 tokyo-1", "an agent: both ways at once, side by side"),
    ("meshctl trace berlin-1 tokyo-1 --tcp 5432", "the same by TCP"),
    ("meshctl trace self 192.0.2.7 --udp 53", "from this machine, by UDP"),
    ("meshctl trace berlin-1 db.internal:5432 --count 20", "more packets for each hop, for loss"),
]
MORE = """FROM is an agent, or self. TARGET is HOST, HOST:PORT, tcp://, udp:// or icmp:HOST, or an agent:
NAME, NAME:PORT or agent:NAME[:PORT]. With a port it goes by TCP to that port, else by ping. All packets are
of one flow, so that routers with several ways send them the same one. A silent hop proves nothing. The exit
code is 0 where the target answered (both ways, between agents), 3 where one way did, 1 where none did, 4
where nothing could be measured: meshctl help exit-codes."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)

From = Annotated[str, typer.Argument(metavar="FROM", autocompletion=complete.selectors)]
To = Annotated[str, typer.Argument(metavar="TARGET", autocompletion=complete.targets)]
Tcp = Annotated[int | None, typer.Option("--tcp", metavar="PORT", help="TCP to that port")]
Udp = Annotated[int | None, typer.Option("--udp", metavar="PORT", help="UDP to that port")]
Icmp = Annotated[bool, typer.Option("--icmp", help="Ping; what is meant without a port")]
Ipv4 = Annotated[bool, typer.Option("-4", help="IPv4 only")]
Ipv6 = Annotated[bool, typer.Option("-6", help="IPv6 only")]
MaxHops = Annotated[int, typer.Option("--max-hops", "-m", metavar="N", help="At most", show_default=True)]
Count = Annotated[int, typer.Option("--count", "-c", metavar="N", help="Packets a hop", show_default=True)]
Timeout = Annotated[float, typer.Option(metavar="S", help="Seconds a packet", show_default=True)]
Deadline = Annotated[float, typer.Option(metavar="S", help="Seconds for all of it", show_default=True)]
SourcePort = Annotated[int | None, typer.Option(metavar="PORT", help="tcp, udp: the flow's source port")]


@app.command(
    cls=MeshCommand,
    help=help_text("The way to a target, hop by hop; to an agent there and back.", EXAMPLES, MORE),
)
def trace(
    from_: From,
    target: To,
    tcp: Tcp = None,
    udp: Udp = None,
    icmp: Icmp = False,
    ipv4: Ipv4 = False,
    ipv6: Ipv6 = False,
    max_hops: MaxHops = 30,
    count: Count = 3,
    timeout: Timeout = 3.0,
    deadline: Deadline = 30.0,
    source_port: SourcePort = None,
    output: OutputOption = Format.TABLE,
) -> int:
    import asyncio

    from probemesh_controller.cli.tracing import TraceAsked, run_trace

    asked = TraceAsked(
        from_=from_,
        to=target,
        tcp=tcp,
        udp=udp,
        icmp=icmp,
        ipv4=ipv4,
        ipv6=ipv6,
        max_hops=max_hops,
        count=count,
        timeout=timeout,
        deadline=deadline,
        source_port=source_port,
        output=output,
    )
    return asyncio.run(run_trace(asked))

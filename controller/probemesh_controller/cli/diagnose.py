"""``meshctl diagnose``: which direction, hop and mechanism fails between two agents, with the proof."""

from typing import Annotated

import typer

from probemesh_controller.cli import complete
from probemesh_controller.cli.lazy import MeshCommand, help_text
from probemesh_controller.cli.output import Format, OutputOption

EXAMPLES = [
    ("meshctl diagnose berlin-1 tokyo-1 --tcp 5432", "both directions of that port"),
    ("meshctl diagnose berlin-1 tokyo-1:5432", "the same"),
    ("meshctl diagnose berlin-1 tokyo-1", "by ping"),
    ("meshctl diagnose berlin-1 tokyo-1 --udp 514 --listen", "nothing listens there yet: be it"),
    ("meshctl diagnose web db --tcp 5432 --reverse-port 8443", "db dials web at another port"),
    ("meshctl diagnose web db --tcp 25 --send $'EHLO web\\r\\n'", "is it reset for what it says?"),
    ("meshctl diagnose web db --udp 514 --idle 10", "does a silent flow live that long?"),
    ("meshctl diagnose web db --tcp 5432 --ticket", "for those who own the firewall"),
    ("meshctl diagnose web db --tcp 5432 --save case.json", "everything that was seen"),
    ("meshctl diagnose --replay case.json", "concluded again, nothing is sent"),
    ("meshctl diagnose berlin-1 db.internal:5432", "a target that is no agent: one end only"),
]
MORE = """FROM is an agent. TO is an agent: NAME, NAME:PORT, tcp://NAME:PORT, udp://NAME:PORT,
agent:NAME[:PORT], or an address that only that agent has. Without a port it is ping. Both ends are watched
while each dials the other: FROM dials TO at the port, TO dials FROM at the same one, or at --reverse-port.
What listens there is watched and never touched; --listen is for a port where nothing listens. With a TO that
is no agent everything is asked that one end can be asked. The exit code is 0 where both directions are
reachable (the way back by its path alone), 3 where one is, or one family or address of it, 1 where nothing
is, 4 where nothing could be measured (meshctl help exit-codes)."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)

From = Annotated[str | None, typer.Argument(metavar="FROM", autocompletion=complete.agent_names)]
To = Annotated[str | None, typer.Argument(metavar="TO", autocompletion=complete.targets)]
Tcp = Annotated[int | None, typer.Option("--tcp", metavar="PORT", help="TCP to that port")]
Udp = Annotated[int | None, typer.Option("--udp", metavar="PORT", help="UDP to that port")]
Icmp = Annotated[bool, typer.Option("--icmp", help="Ping; what is meant without a port")]
ReversePort = Annotated[int | None, typer.Option(metavar="PORT", help="Where TO dials FROM  [the same port]")]
Address = Annotated[str | None, typer.Option(metavar="ADDR", help="Dial TO by this address alone")]
Listen = Annotated[
    bool, typer.Option("--listen", help="Listen there meanwhile, at both ends, where nothing does")
]
Send = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT|hex:..|@FILE", help="Have connections say that, to see whether they are reset for it"
    ),
]
Idle = Annotated[float, typer.Option(metavar="S", help="See whether UDP flows live that are silent so long")]
Ticket = Annotated[bool, typer.Option("--ticket", help="Write the change request for the firewall's owner")]
Ipv4 = Annotated[bool, typer.Option("-4", help="IPv4 only")]
Ipv6 = Annotated[bool, typer.Option("-6", help="IPv6 only")]
Deadline = Annotated[float, typer.Option(metavar="S", help="Seconds for all of it", show_default=True)]
MaxPackets = Annotated[
    int, typer.Option(metavar="N", help="Packets for all of it, both ends together", show_default=True)
]
Save = Annotated[str | None, typer.Option(metavar="FILE", help="Keep everything that was seen")]
Replay = Annotated[
    str | None, typer.Option(metavar="FILE", help="Conclude from what --save kept; sends nothing")
]


@app.command(
    cls=MeshCommand,
    help=help_text(
        "Say which direction, hop and mechanism fails between two agents, and prove it.", EXAMPLES, MORE
    ),
)
def diagnose(
    from_: From = None,
    to: To = None,
    tcp: Tcp = None,
    udp: Udp = None,
    icmp: Icmp = False,
    reverse_port: ReversePort = None,
    address: Address = None,
    listen: Listen = False,
    send: Send = None,
    idle: Idle = 0.0,
    ticket: Ticket = False,
    ipv4: Ipv4 = False,
    ipv6: Ipv6 = False,
    deadline: Deadline = 30.0,
    max_packets: MaxPackets = 3000,
    save: Save = None,
    replay: Replay = None,
    output: OutputOption = Format.TABLE,
) -> int:
    import asyncio

    from probemesh_controller.cli.diagnosing import run_diagnose
    from probemesh_controller.cli.pairs import PairAsked

    asked = PairAsked(
        from_=from_,
        to=to,
        tcp=tcp,
        udp=udp,
        icmp=icmp,
        reverse_port=reverse_port,
        address=address,
        listen=listen,
        send=send,
        idle=idle,
        ticket=ticket,
        ipv4=ipv4,
        ipv6=ipv6,
        deadline=deadline,
        max_packets=max_packets,
        save=save,
        replay=replay,
        output=output,
    )
    return asyncio.run(run_diagnose(asked))

"""``meshctl audit``: who asked the controller for what, and what came of it."""

from typing import Annotated

import typer
from probemesh_shared.words import AuditOutcome

from probemesh_controller.cli import complete
from probemesh_controller.cli.lazy import MeshCommand, help_text
from probemesh_controller.cli.output import Format, OutputOption

EXAMPLES = [
    ("meshctl audit", "the newest 100 events"),
    ("meshctl audit --since 1d --who alice", "what alice did since yesterday"),
    ("meshctl audit --outcome denied --since 7d", "what agents were not allowed to probe"),
    ("meshctl audit --agent 'berlin-*' --event enrol", "who became which agent"),
    ("meshctl audit --since 2026-11-01 --limit 10000 -o csv", "for a spreadsheet"),
]
MORE = """Administrators only. Every call to the controller is an event under its own name (create-token,
revoke-agent, run, status), the refused ones too; run-started and run-ended tell targets and how measurements
ended. Outcomes: ok, started, refused (certificate or role), denied (the agents' policy let nothing through),
rejected, failed, cut (ended by the controller), cancelled. Events alike are told one by one up to 20 in a
minute, then as one with their number.

NAME, WORD and AGENT may be globs. Each agent keeps its own record beside this; on its host mesh-agent audit
shows it."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Agent = Annotated[
    str | None,
    typer.Option(
        metavar="AGENT",
        help="Only what an agent did, took part in, or had done to it",
        autocompletion=complete.agent_names,
    ),
]


@app.command(cls=MeshCommand, help=help_text("Who asked for what, and what came of it.", EXAMPLES, MORE))
def audit(
    since: Annotated[str | None, typer.Option(metavar="1h", help="15m, 1h, 2d, or a time (UTC)")] = None,
    until: Annotated[str | None, typer.Option(metavar="15m", help="Only what is older than this")] = None,
    who: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this name or role/name")] = None,
    agent: Agent = None,
    event: Annotated[str | None, typer.Option(metavar="WORD", help="Only events of this name")] = None,
    outcome: Annotated[
        AuditOutcome | None, typer.Option(metavar="WORD", help="Only what came to this")
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="ID", help="Only of this run")] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="The newest N", show_default=True)] = 100,
    output: OutputOption = Format.TABLE,
) -> None:
    import asyncio

    from probemesh_controller.cli import audited

    query = audited.query(since, until, who, agent, event, outcome, run, limit)
    audited.print_found(asyncio.run(audited.ask(query)), output)

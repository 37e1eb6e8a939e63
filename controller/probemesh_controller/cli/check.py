"""``meshctl check``: a contract held against reality."""

from enum import StrEnum
from typing import Annotated

import typer

from probemesh_controller.cli import complete
from probemesh_controller.cli.lazy import MeshCommand, help_text

EXAMPLES = [
    ("meshctl check contract.toml", "what is kept, what is broken, and why"),
    ("meshctl check contract.toml -o junit", "for CI: JUnit XML"),
    ("meshctl check new.toml --learn --from site=berlin --to db:5432", "write one from today's reality"),
]
MORE = """CONTRACT declares clauses, [[must]] and [[must_not]]: from (SELECTOR), to (TARGETs) or to_agents
(SELECTOR) with port, and kind, family, expect, rtt_max and loss_max where they matter. --learn writes such a
file, for who is meant by --from to every --to: who connects must, who does not must not.

The exit code is 0 where every clause is kept, 1 where one is broken, 3 where none is but not everything could
be measured, 4 where nothing could be: meshctl help exit-codes."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class CheckFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    JUNIT = "junit"


File = Annotated[str, typer.Argument(metavar="CONTRACT.toml", show_default=False)]
Learn = Annotated[bool, typer.Option("--learn", help="Write CONTRACT.toml, which must not be there yet")]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="SELECTOR", help="--learn: from where", autocompletion=complete.selectors),
]
To = Annotated[
    list[str] | None, typer.Option("--to", metavar="TARGET", help="--learn: to where; may be repeated")
]
Yes = Annotated[bool, typer.Option("--yes", help="However much it is")]
Output = Annotated[CheckFormat, typer.Option("--output", "-o", help="How to print it", show_default=True)]


@app.command(cls=MeshCommand, help=help_text("Hold a contract against reality.", EXAMPLES, MORE))
def check(
    contract: File,
    learn: Learn = False,
    from_: From = None,
    to: To = None,
    yes: Yes = False,
    output: Output = CheckFormat.TABLE,
) -> int:
    import asyncio

    from probemesh_controller.cli.holding import run_check, run_learn

    if learn:
        return asyncio.run(run_learn(contract, from_, tuple(to or ()), yes))
    return asyncio.run(run_check(contract, from_ is not None or bool(to), yes, output))

"""``meshctl help``: pages that belong to no single command."""

import typer

from probemesh_controller.cli.lazy import MeshGroup, help_text

EXAMPLES = [
    ("meshctl help exit-codes", "what a script may rely on"),
    ("meshctl help expectations", "every KEY of --expect"),
]
EXIT_CODES = """\
Exit codes of meshctl, the first that applies:

  2    wrong use: an option, a TARGET that cannot be read, port 0 or 70000
  130  interrupted (Ctrl-C); what was finished until then is printed: a row whose samples
       were not all taken is not
  4    nothing could be measured: no such agent, a selector that matches none,
       controller away, certificate refused, every agent's policy said no;
       or, whatever came out, it could not be printed: disk full, stdout closed, reader gone
  1    measured, and nobody reached it
  3    some failed or were not measured
  0    everybody asked reached it

meshctl diagnose: the same over its two directions: 0 both are reachable, 3 one is, 1 none is. The way there
by its verdict, the way back by its path alone, as nothing need listen there; undetermined is not reached.

meshctl trace: the same over the ways that were traced, there and back: 0 every one led to its end, 3 one of
two did, 1 none did; 4 where nothing could be sent (no such agent, no address of the family asked for).

meshctl matrix run: the same over its cells: 0 all are well, 3 some failed or were not measured, 1 none is
well, 4 nothing could be measured. An agent that is gone is not measured, in both roles.

meshctl check: 0 every clause is kept, 1 one is broken, 3 none is, but not everything was measured,
4 nothing was; with --learn 0 where the file was written.

meshctl controller check-config: 0 the file is good, 1 it means somebody who is not there or exceeds a budget,
2 it cannot be read.

meshctl nat: 0 of every agent it is known whether a NAT stands in front of it, 3 of some, 1 of none though
they sent; 4 where nobody could send anything to anybody.

--watch: that of the last of --rounds; ended by Ctrl-C, 130. --until: 0 as soon as everybody reaches
it (or nobody does); when --within has passed, 1 where nobody is as wished, 3 where some are, 4 where
nothing could be measured.

A certificate that does not verify is a finding and not a failure, unless --strict is given.
A vantage point that is the target itself counts nowhere. Unmeasured is never "down".
What is not as --expect says has failed. With --expect-fail it is turned round: 0 nobody reached it,
1 everybody who looked did, 3 some did or some did not look.
"""

app = typer.Typer(
    cls=MeshGroup,
    help=help_text("Pages that belong to no single command.", EXAMPLES),
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def pages(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("exit-codes", help="What the exit code of meshctl means.")
def exit_codes() -> None:
    print(EXIT_CODES, end="")


@app.command("expectations", help="Every KEY that --expect KEY=VALUE knows.")
def expectations() -> None:
    from probemesh_controller.cli.expecting import page

    print(page(), end="")

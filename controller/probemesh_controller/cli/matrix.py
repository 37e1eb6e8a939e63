"""``meshctl matrix``: the grid of who reaches whom."""

from pathlib import Path
from typing import Annotated

import typer

from probemesh_controller.cli import complete
from probemesh_controller.cli.lazy import MeshCommand, MeshGroup, help_text
from probemesh_controller.cli.output import Format, OutputOption

RUN = [
    ("meshctl matrix run", "ICMP and UDP between all agents"),
    ("meshctl matrix run --from site=berlin --to site=tokyo", "from some to some"),
    ("meshctl matrix run --kind icmp --kind tcp/22", "other probes, or ports"),
    ("meshctl matrix run --to db.internal:5432 --kind tcp", "from everybody to a service"),
    ("meshctl matrix run --file meshes.toml --mesh core", "a mesh as its file declares it"),
    ("meshctl matrix run -o csv", "a row a cell"),
]
RUN_MORE = """Without --file every agent measures every other. UDP to an agent goes to a responder that it
opens on a free port for the run, and which answers this run only; with a port (--kind udp/53) to what listens
there. KIND is icmp, udp, tcp/PORT, udp/PORT, tls/PORT, http/PORT or https/PORT. With --file the schedules of
the mesh say what is measured.

A cell shows both directions where both ends are agents. The exit code is 0 where all cells are well, 3 where
some failed or were not measured, 1 where none is well, 4 where nothing could be measured: meshctl help
exit-codes. An agent that is gone says nothing of anybody: that is not measured, and no failure."""

app = typer.Typer(
    cls=MeshGroup,
    help=help_text("Who reaches whom: every pair of a mesh in one grid.", RUN),
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)


@app.callback()
def matrices() -> None:
    """Holds the sub-commands."""


@app.command(cls=MeshCommand, help=help_text("Measure a matrix now.", RUN, RUN_MORE))
def run(
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="The file that declares meshes")
    ] = None,
    mesh: Annotated[str | None, typer.Option("--mesh", metavar="NAME", help="One mesh of the file")] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="SELECTOR", help="From these", autocompletion=complete.selectors),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="SELECTOR", help="To these; or to one TARGET", autocompletion=complete.selectors
        ),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", metavar="KIND", help="May be repeated  [icmp, udp]")
    ] = None,
    count: Annotated[int | None, typer.Option(metavar="N", help="Samples of a cell  [3]")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="S", help="Seconds for an attempt  [3]")] = None,
    deadline: Annotated[float | None, typer.Option(metavar="S", help="Seconds for each part of it")] = None,
    ipv4: Annotated[bool, typer.Option("-4", help="IPv4 only")] = False,
    ipv6: Annotated[bool, typer.Option("-6", help="IPv6 only")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Begin without asking, however much it comes to")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> int:
    import asyncio

    from probemesh_controller.cli.matrixrun import MatrixAsked, run_matrix

    asked = MatrixAsked(
        file, mesh, from_, to, tuple(kind or ()), count, timeout, deadline, ipv4, ipv6, yes, output
    )
    return asyncio.run(run_matrix(asked))

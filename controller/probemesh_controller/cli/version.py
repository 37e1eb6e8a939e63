"""``meshctl version``."""

import typer

from probemesh_controller.cli.lazy import MeshCommand, help_text

EXAMPLES = [("meshctl version", "of this program")]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=MeshCommand, help=help_text("Print the version.", EXAMPLES))
def version() -> None:
    from importlib.metadata import version as of

    print(f"meshctl {of('probemesh')}")

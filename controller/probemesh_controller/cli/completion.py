"""``meshctl completion``: the script that makes a shell complete."""

from typing import Annotated

import typer
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape

from probemesh_controller.cli.lazy import MeshCommand, help_text

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = [
    ('eval "$(meshctl completion bash)"', "in ~/.bashrc"),
    ('eval "$(meshctl completion zsh)"', "in ~/.zshrc"),
    ("meshctl completion fish | source", "in config.fish"),
]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=MeshCommand, help=help_text("Print the completion script of a shell.", EXAMPLES))
def completion(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", autocompletion=lambda: list(SHELLS))],
) -> None:
    from typer._completion_shared import get_completion_script

    if shell not in SHELLS:
        raise InvalidRequest(f"no completion for '{escape(shell, 40)}'", "bash, zsh or fish")
    print(get_completion_script(prog_name="meshctl", complete_var="_MESHCTL_COMPLETE", shell=shell))

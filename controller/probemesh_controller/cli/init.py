"""``meshctl init``: a new mesh on disk, and a context that points at it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probemesh_controller.cli.flags import FLAGS, note, say
from probemesh_controller.cli.lazy import MeshCommand, help_text

if TYPE_CHECKING:
    from probemesh_controller.config import Config, MeshContext

EXAMPLES = [
    ("meshctl init", "then: meshctl controller run"),
    ("meshctl init --state ./mesh --name prod", "somewhere else, under a name"),
]
MORE = "Makes the CA, the controller's certificate and yours, and a context in the configuration in force."

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=MeshCommand, help=help_text("Make a mesh.", EXAMPLES, MORE))
def init(
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="State directory  [MESHCTL_STATE]")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the mesh; by default random")
    ] = None,
    controller: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where its controller will be reached")
    ] = None,
) -> None:
    import os

    from probemesh_shared.names import dial_address

    from probemesh_controller import config
    from probemesh_controller.pki.mesh import init_mesh

    address = dial_address(controller, "controller") if controller else None
    folder = config.state_dir(state, os.environ)
    in_force = config.load(config.config_path(FLAGS.config, os.environ)[0])
    made = init_mesh(folder, name)
    context = config.MeshContext(made.mesh, made.mesh, folder / "operator", address)
    written = write_contexts(folder, in_force, context)
    say(f"mesh {made.mesh} is made in {folder}")
    say(f"CA fingerprint (SHA-256) {made.fingerprint.hex()}")
    for path in written:
        say(f"context {made.mesh} is written to {path}, and is current there")
    for line in next_steps(folder, state is not None):
        note(line)


def write_contexts(state: Path, in_force: "Config", context: "MeshContext") -> list[Path]:
    """Into the state's own ``config.toml``, and into the file in force where that is another."""
    from probemesh_controller import config

    own = config.load(state / "config.toml")
    config.save(own.with_context(context))
    written = [own.path]
    if in_force.path.resolve() != own.path.resolve():
        config.save(in_force.with_context(context))
        written.append(in_force.path)
    return written


def next_steps(state: Path, given: bool) -> list[str]:
    option = f" --state {state}" if given else ""
    return [
        "next:",
        f"  meshctl controller run{option} --listen 0.0.0.0:7400 --public THIS-HOST:7400",
        "  meshctl token create --name berlin-1 --site berlin      # prints the line that joins a host",
        "  meshctl probe HOST:PORT",
    ]

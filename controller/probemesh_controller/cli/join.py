"""``meshctl join``: this laptop becomes an operator of a mesh."""

from pathlib import Path
from typing import Annotated

import typer

from probemesh_controller.cli.lazy import MeshCommand, help_text

EXAMPLES = [
    ("meshctl join mesh.example:7400 --token-file token.txt", "the token of operator create"),
    ("meshctl join mesh.example:7400 --token-file - < token.txt", "from standard input"),
]
MORE = "The token is that of meshctl operator create. It never goes into an option: others would see it."
#: A token is about 600 characters; a file longer than this is none.
LONGEST = 16384

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=MeshCommand, help=help_text("Make this laptop an operator of a mesh.", EXAMPLES, MORE))
def join(
    controller: Annotated[str, typer.Argument(metavar="HOST:PORT")],
    token_file: Annotated[
        str, typer.Option("--token-file", metavar="F|-", help="File with the token; - is stdin")
    ],
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the identity goes")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Join again, in place of the identity that is there")
    ] = False,
) -> None:
    import asyncio
    import os

    from probemesh_shared.names import dial_address

    from probemesh_controller import config
    from probemesh_controller.cli.connect import forget_proxies
    from probemesh_controller.cli.flags import load_config, say
    from probemesh_controller.join import join_operator, mesh_of, over

    forget_proxies()
    address = dial_address(controller, "controller")
    settings = load_config()
    token = read_token(token_file)
    from probemesh_shared.identity.token import decode_token

    mesh = decode_token(token).mesh
    folder = config.state_dir(state, os.environ) / "operator"
    # one identity a mesh: the state directory may hold another's
    if state is None and folder.exists() and not (mesh_of(folder) == mesh and (replace or over(folder))):
        folder = folder.with_name(f"operator-{mesh}")
    joined = asyncio.run(join_operator(folder, address, token, replace))
    before = settings.contexts.get(joined.mesh)
    agents = before.agents if before is not None and before.mesh == joined.mesh else {}
    context = config.MeshContext(joined.mesh, joined.mesh, joined.identity, joined.controller, agents)
    config.save(settings.with_context(context))
    say(
        f"this laptop is {joined.name} ({joined.role}) of mesh {joined.mesh}; its key is in {joined.identity}"
    )
    say(f"context {joined.mesh} is written to {settings.path}, and is current there")


def read_token(source: str) -> str:
    """The token's text. Raises :class:`InvalidRequest` for a file that cannot be read or holds no token."""
    import sys

    from probemesh_shared.errors import InvalidRequest

    try:
        if source == "-":
            text = sys.stdin.read(LONGEST)
        else:
            with Path(source).open(encoding="utf-8") as file:
                text = file.read(LONGEST)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise InvalidRequest(f"the token file {source} cannot be read: {why}") from None
    if not text.strip():
        raise InvalidRequest("the token is empty", "paste what meshctl operator create printed")
    return text.strip()

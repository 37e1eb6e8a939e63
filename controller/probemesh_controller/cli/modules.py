"""``meshctl modules``: probes saved under a name, in the configuration or built in."""

from typing import TYPE_CHECKING, Annotated

import typer
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape

from probemesh_controller.cli import complete
from probemesh_controller.cli.lazy import MeshGroup, help_text
from probemesh_controller.cli.output import Format, OutputOption, print_value, write

if TYPE_CHECKING:  # loaded inside the functions: --help needs none of it
    from collections.abc import Sequence

    from probemesh_shared.jsonshape import ModulesJson

    from probemesh_controller.cli.specs.saved import Module

EXAMPLES = [
    ("meshctl modules", "list them, and where each stands"),
    ("meshctl modules show http_2xx", "its options, ready to be copied into config.toml"),
    ("meshctl probe https://shop/ --module http_2xx", "use one"),
]

app = typer.Typer(
    cls=MeshGroup,
    help=help_text("List and show the modules that probe --module knows.", EXAMPLES),
    rich_markup_mode=None,
    add_completion=False,
)
Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.modules)]


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> int:
    return list_() if context.invoked_subcommand is None else 0


LIST = help_text(
    "List the modules.",
    [("meshctl modules list -o json", "with all their options")],
    "Of one that cannot be read stderr says what is wrong; the others are listed, and the exit code is 2.",
)
SHOW = help_text("Show one module's options.", [("meshctl modules show ssh_banner", "as config.toml has it")])


@app.command("list", help=LIST)
def list_(output: OutputOption = Format.TABLE) -> int:
    found, slips = _all()
    if output is Format.TABLE:
        write(_table(found))
    else:
        print_value(_json(found), output)
    for slip in slips:
        _say(slip)
    return 2 if slips else 0


@app.command(help=SHOW)
def show(name: Name, output: OutputOption = Format.TABLE) -> None:
    from probemesh_controller.cli.flags import chosen_context, load_config
    from probemesh_controller.cli.specs import saved
    from probemesh_controller.config import module_lines

    config = load_config()
    tables = saved.tables(config, chosen_context())
    module = saved.find(name, tables, config.path)
    if output is not Format.TABLE:
        return print_value(_json([module]), output)
    table, source = saved.everything(tables)[name]
    print(f"# {source if source != 'the file' else config.path}")
    print("\n".join([f"[modules.{name}]", *module_lines(table)]))
    return None


def _all() -> "tuple[list[Module], list[InvalidRequest]]":
    """Those that can be read, and what is wrong with the others."""
    from probemesh_controller.cli.flags import chosen_context, load_config
    from probemesh_controller.cli.specs import saved

    config = load_config()
    found, slips = [], []
    for name, (table, source) in sorted(saved.everything(saved.tables(config, chosen_context())).items()):
        try:
            found.append(saved.read(name, table, source, config.path))
        except InvalidRequest as slip:
            slips.append(slip)
    return found, slips


def _say(slip: InvalidRequest) -> None:
    from probemesh_controller.cli.flags import note

    note(f"error: {escape(str(slip), 2000)}")
    if slip.hint:
        note(f"hint: {escape(slip.hint, 2000)}")


def _table(modules: "Sequence[Module]") -> str:
    from probemesh_controller.cli.output import terminal_width
    from probemesh_controller.render.text import Cell, columns

    rows = [
        [Cell(one.name), Cell(", ".join(_kinds(one)) or "climb"), Cell(one.source), Cell(one.description)]
        for one in modules
    ]
    return "\n".join(columns(["NAME", "KIND", "WHERE", ""], rows, terminal_width(), False)) + "\n"


def _kinds(module: "Module") -> tuple[str, ...]:
    return tuple(module.options.get("kind", ()))


def _json(modules: "Sequence[Module]") -> "ModulesJson":
    return {
        "schema": 1,
        "modules": [
            {
                "name": module.name,
                "source": module.source,
                "description": module.description,
                "options": {key: _plain(value) for key, value in module.options.items()},
            }
            for module in modules
        ],
    }


def _plain(value: object) -> "str | float | bool | list[str]":
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value if isinstance(value, bool | int | float) else str(value)

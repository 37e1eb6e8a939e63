"""``meshctl modules``: probes saved under a name, in the configuration or built in."""

from typing import TYPE_CHECKING, Annotated

import typer

from probemesh_controller.cli import complete
from probemesh_controller.cli.lazy import MeshGroup, help_text
from probemesh_controller.cli.output import Format, OutputOption, print_value

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
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_()


LIST = help_text("List the modules.", [("meshctl modules list -o json", "with all their options")])
SHOW = help_text("Show one module's options.", [("meshctl modules show ssh_banner", "as config.toml has it")])


@app.command("list", help=LIST)
def list_(output: OutputOption = Format.TABLE) -> None:
    from probemesh_controller.cli.output import terminal_width
    from probemesh_controller.render.text import Cell, columns

    found = _all()
    if output is not Format.TABLE:
        return print_value(_json(found), output)
    rows = [
        [
            Cell(module.name),
            Cell(", ".join(_kinds(module)) or "climb"),
            Cell(module.source),
            Cell(module.description),
        ]
        for module in found
    ]
    print("\n".join(columns(["NAME", "KIND", "WHERE", ""], rows, terminal_width(), False)))
    return None


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


def _all() -> "list[Module]":
    from probemesh_controller.cli.flags import chosen_context, load_config
    from probemesh_controller.cli.specs import saved

    config = load_config()
    places = saved.everything(saved.tables(config, chosen_context()))
    return [saved.read(name, table, source, config.path) for name, (table, source) in sorted(places.items())]


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

"""The group that knows every command by name and help line and loads its module only when it is run."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import typer
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.names import did_you_mean
from typer.core import TyperCommand, TyperGroup, TyperOption

from probemesh_controller.cli.flags import FLAGS


def common_options() -> list[Any]:
    """Options that every command takes, before or after its name."""

    def store(_context: Any, parameter: Any, value: Any) -> None:
        if value is not None:
            setattr(FLAGS, parameter.name, Path(value) if parameter.name == "config" else value)

    def option(*names: str, **settings: Any) -> TyperOption:
        declared = TyperOption(param_decls=list(names), expose_value=False, callback=store, **settings)
        declared.default = None
        return declared

    return [
        option("--context", metavar="NAME", help="The mesh to use  [MESHCTL_CONTEXT]"),
        option("--config", metavar="FILE", help="Configuration file  [MESHCTL_CONFIG]"),
        option("--color/--no-color", is_flag=True, help="Colour; by default on a terminal only  [NO_COLOR]"),
        option("--debug", is_flag=True, help="Show tracebacks and the log"),
    ]


class MeshCommand(TyperCommand):
    """A command with the common options at the end of its own."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings["params"] = [*(settings.get("params") or ()), *common_options()]
        super().__init__(*arguments, **settings)


class MeshGroup(TyperGroup):
    """A group whose options, where it is run without a sub-command, include the common ones."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings["params"] = [*(settings.get("params") or ()), *common_options()]
        super().__init__(*arguments, **settings)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)


class LazyGroup(MeshGroup):
    """``sections`` is the literal table: heading → name → (module, help line)."""

    sections: ClassVar[Mapping[str, Mapping[str, tuple[str, str]]]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for section in self.sections.values() for name in section]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for section in self.sections.values():
            if cmd_name in section:
                command = typer.main.get_command(import_module(section[cmd_name][0]).app)
                command.name = cmd_name
                return command
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args[0] not in known and not ctx.resilient_parsing:
            hint = did_you_mean(args[0], known) or "meshctl --help lists them"
            raise InvalidRequest(f"there is no command '{escape(args[0], 40)}'", hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(name) for name in self.list_commands(ctx))
        for heading, section in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), line) for name, (_, line) in section.items()])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        rows = [row for row in (param.get_help_record(ctx) for param in self.get_params(ctx)) if row]
        with formatter.section("Options"):
            formatter.write_dl(rows)


def help_text(summary: str, examples: Sequence[tuple[str, str]], more: str = "") -> str:
    """A command's help: what it does, examples, then the rest. ``\\b`` keeps the lines of the examples."""
    width = max(len(line) for line, _ in examples)
    shown = [f"  {line.ljust(width)}   {why}".rstrip() for line, why in examples]
    if max(map(len, shown)) > 76:  # beside each other they would not fit a terminal: comment above command
        shown = [text for line, why in examples for text in ([f"  # {why}"] if why else []) + [f"  {line}"]]
    return "\n\n".join(part for part in (summary, "\n".join(["\b", "Examples:", *shown]), more) if part)

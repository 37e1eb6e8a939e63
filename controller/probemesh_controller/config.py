"""``config.toml``: contexts, where they are kept, which one is meant. Precedence: flag, ``MESHCTL_*``, file.

::

    current = "NAME"
    [contexts.NAME]
    mesh = "…"            controller = "HOST:PORT"      identity = "operator"   # folder, seen from here
    [contexts.NAME.agents.AGENT]     address = "HOST:PORT"   site = "…"
    [modules.NAME]   [contexts.NAME.modules.NAME]     kind = "…"   expect = ["…"]   # saved probes

The file is written whole, by renaming, mode 0600. Modules are kept as they are, and read where they are used
(:mod:`probemesh_controller.cli.specs.saved`).
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from probemesh_shared.errors import InvalidRequest, NotFound, StateError
from probemesh_shared.escape import escape
from probemesh_shared.names import check_name, dial_address, did_you_mean

SYSTEM_STATE = Path("/var/lib/probemesh")
NO_CONTEXT_HINT = (
    "make a mesh with 'meshctl init', join one with 'meshctl join HOST:PORT --token-file F',"
    " or look round with 'meshctl demo'"
)


#: Saved probes by name, as the file has them: tables, unless somebody slipped.
Modules = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ListeningAgent:
    """An agent that this laptop dials itself."""

    address: str
    site: str | None = None


@dataclass(frozen=True, slots=True)
class MeshContext:
    """One mesh as this laptop sees it. ``identity`` is an absolute folder; no ``controller``: agents only."""

    name: str
    mesh: str
    identity: Path
    controller: str | None = None
    agents: Mapping[str, ListeningAgent] = field(default_factory=dict)
    modules: Modules = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    path: Path
    current: str | None = None
    contexts: Mapping[str, MeshContext] = field(default_factory=dict)
    modules: Modules = field(default_factory=dict)

    def with_context(self, context: MeshContext, use: bool = True) -> "Config":
        current = context.name if use or self.current is None else self.current
        return replace(self, current=current, contexts={**self.contexts, context.name: context})

    def without_context(self, name: str) -> "Config":
        contexts = {key: value for key, value in self.contexts.items() if key != name}
        return replace(self, current=None if self.current == name else self.current, contexts=contexts)


def config_path(flag: Path | None, environ: Mapping[str, str]) -> tuple[Path, str]:
    """The file in force and who said so: ``--config``, ``MESHCTL_CONFIG`` or ``default``."""
    if flag is not None:
        return flag.absolute(), "--config"
    if named := environ.get("MESHCTL_CONFIG"):
        return Path(named).absolute(), "MESHCTL_CONFIG"
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".config")
    return Path(base) / "meshctl" / "config.toml", "default"


def state_dir(flag: Path | None, environ: Mapping[str, str]) -> Path:
    """``--state``, ``MESHCTL_STATE``, systemd's ``STATE_DIRECTORY``, else the XDG state directory."""
    if flag is not None:
        return flag.absolute()
    for variable in ("MESHCTL_STATE", "STATE_DIRECTORY"):
        if named := environ.get(variable):
            return Path(named.split(":")[0]).absolute()
    home = Path(environ.get("HOME") or "~").expanduser()
    return Path(environ.get("XDG_STATE_HOME") or str(home / ".local" / "state")) / "probemesh"


def cache_dir(environ: Mapping[str, str]) -> Path:
    """Where names for completion are remembered."""
    home = Path(environ.get("HOME") or "~").expanduser()
    return Path(environ.get("XDG_CACHE_HOME") or str(home / ".cache")) / "meshctl"


def history_dir(flag: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Where runs are kept, a folder a context: ``MESHCTL_HISTORY`` (``off``: nowhere, None), else beside a
    configuration that was named by ``--config`` or ``MESHCTL_CONFIG``, else in the XDG state directory."""
    named = environ.get("MESHCTL_HISTORY")
    if named:
        return None if named == "off" else Path(named).absolute()
    path, source = config_path(flag, environ)
    if source != "default":
        return path.parent / "history"
    home = Path(environ.get("HOME") or "~").expanduser()
    return Path(environ.get("XDG_STATE_HOME") or str(home / ".local" / "state")) / "meshctl" / "history"


def load(path: Path) -> Config:
    """The file's contents; a file that does not exist is empty. Raises :class:`StateError`."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Config(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"the configuration {path} cannot be read: {_why(error)}") from None
    try:
        return _parse(path, tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise StateError(f"the configuration {path} is not TOML: {error}") from None
    except InvalidRequest as error:
        raise StateError(f"the configuration {path} cannot be used: {error}", error.hint) from None


def save(config: Config) -> None:
    """Writes the file, making its folder. Raises :class:`StateError`."""
    temporary = config.path.with_name(config.path.name + f".{os.getpid()}.new")
    try:
        config.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(to_toml(config))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(config.path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StateError(f"the configuration {config.path} cannot be written: {_why(error)}") from None


def choose(config: Config, flag: str | None, environ: Mapping[str, str]) -> tuple[MeshContext | None, str]:
    """The context in force and who said so; None where no context exists at all.

    Raises :class:`InvalidRequest` (wrong use) for a name that does not exist.
    """
    for name, source in ((flag, "--context"), (environ.get("MESHCTL_CONTEXT"), "MESHCTL_CONTEXT")):
        if name:
            return named(config, name), source
    if config.current:
        return named(config, config.current), f"current in {config.path}"
    if len(config.contexts) == 1:
        return next(iter(config.contexts.values())), f"the only one in {config.path}"
    if config.contexts:
        raise InvalidRequest("no context is chosen", "meshctl context use NAME")
    return None, "none"


def named(config: Config, name: str) -> MeshContext:
    if name in config.contexts:
        return config.contexts[name]
    known = ", ".join(config.contexts)
    hint = did_you_mean(name, config.contexts) or (f"known: {known}" if known else NO_CONTEXT_HINT)
    raise InvalidRequest(f"there is no context '{escape(name, 80)}' in {config.path}", hint)


def require(context: MeshContext | None, config: Config) -> MeshContext:
    if context is None:
        raise NotFound(f"no mesh is configured in {config.path}", NO_CONTEXT_HINT)
    return context


def to_toml(config: Config) -> str:
    lines = ["# written by meshctl; safe to edit"]
    if config.current is not None:
        lines.append(f"current = {_quoted(config.current)}")
    for name, context in sorted(config.contexts.items()):
        lines += ["", f"[contexts.{_key(name)}]", f"mesh = {_quoted(context.mesh)}"]
        if context.controller is not None:
            lines.append(f"controller = {_quoted(context.controller)}")
        lines.append(f"identity = {_quoted(_relative(context.identity, config.path.parent))}")
        for agent, listening in sorted(context.agents.items()):
            lines += ["", f"[contexts.{_key(name)}.agents.{_key(agent)}]"]
            lines.append(f"address = {_quoted(listening.address)}")
            if listening.site is not None:
                lines.append(f"site = {_quoted(listening.site)}")
        lines += _module_lines(context.modules, f"contexts.{_key(name)}.modules")
    lines += _module_lines(config.modules, "modules")
    return "\n".join(lines) + "\n"


def _module_lines(modules: Modules, prefix: str) -> list[str]:
    slips = {name: value for name, value in modules.items() if not isinstance(value, dict)}
    lines = ["", f"[{prefix}]", *module_lines(slips)] if slips else []
    for name, table in sorted(modules.items()):
        if name not in slips:
            lines += ["", f"[{prefix}.{_key(name)}]", *module_lines(table)]
    return lines


def module_lines(table: Mapping[str, Any]) -> list[str]:
    """One module's options as TOML."""
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    """Anything that TOML can hold: what is no option of ours is kept all the same."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _quoted(value)
        case dict():
            return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + " }"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case int() | float():
            return repr(value)
        case _:  # dates and times
            return value.isoformat() if hasattr(value, "isoformat") else _quoted(str(value))


def _parse(path: Path, data: Mapping[str, Any]) -> Config:
    contexts = {
        name: _parse_context(path, name, _table(value, f"contexts.{name}"))
        for name, value in _table(data.get("contexts", {}), "contexts").items()
    }
    return Config(path, _text(data, "current", "the file"), contexts, _modules(data, "the file"))


def _modules(data: Mapping[str, Any], where: str) -> Modules:
    return dict(_table(data.get("modules", {}), f"{where}, modules"))


def _parse_context(path: Path, name: str, data: Mapping[str, Any]) -> MeshContext:
    where = f"context {escape(name, 80)}"
    controller = _text(data, "controller", where)
    agents = {
        check_name(agent, "agent name"): _parse_agent(agent, _table(value, f"{where}, agents.{agent}"))
        for agent, value in _table(data.get("agents", {}), f"{where}, agents").items()
    }
    return MeshContext(
        name=name,
        mesh=check_name(_text(data, "mesh", where) or "", f"mesh of {where}"),
        identity=path.parent / (_text(data, "identity", where) or "operator"),
        controller=dial_address(controller, f"controller of {where}") if controller else None,
        agents=agents,
        modules=_modules(data, where),
    )


def _parse_agent(name: str, data: Mapping[str, Any]) -> ListeningAgent:
    address = _text(data, "address", f"agent {name}") or ""
    return ListeningAgent(
        dial_address(address, f"address of agent {name}"), _text(data, "site", f"agent {name}")
    )


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{escape(where, 120)} is not a table")
    return value


def _text(data: Mapping[str, Any], key: str, where: str) -> str | None:
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{key} of {escape(where, 120)} is not a string")
    return value


def _relative(folder: Path, base: Path) -> str:
    return str(folder.relative_to(base)) if folder.is_relative_to(base) else str(folder)


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _quoted(text)


def _quoted(text: str) -> str:
    special = {"\\": "\\\\", '"': '\\"'}
    return '"' + "".join(special.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)

"""Named modules: probes saved under a name, in the configuration or built in. Pure.

::

    [modules.shop]                     # or [contexts.NAME.modules.shop], which comes first there
    description = "the shop answers"
    kind = "http"
    expect = ["status=200-299", "rtt-max=300ms"]

Each is checked when it is used or listed: a slip in one of them stops no other command.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.expectations import KEYS, parse_expectation
from probemesh_shared.names import check_name, did_you_mean

from probemesh_controller.cli.specs import Asked, fields
from probemesh_controller.config import Config, MeshContext, Modules

BUILT_IN = "built in"
#: Modules and where they stand, the nearest first.
Tables = Sequence[tuple[Modules, str]]
#: The names by which blackbox_exporter's own example configuration knows them.
_BUILT_IN: Modules = {
    "http_2xx": {
        "description": "a URL answers with a status from 200 to 299",
        "kind": "http",
        "expect": ["status=200-299"],
    },
    "http_post_2xx": {
        "description": "the same for a POST without a body",
        "kind": "http",
        "method": "POST",
        "expect": ["status=200-299"],
    },
    "tcp_connect": {"description": "a port accepts connections", "kind": "tcp"},
    "ssh_banner": {
        "description": "an SSH server greets",
        "kind": "tcp",
        "expect": ["banner=SSH-2.0-"],
    },
    "icmp": {"description": "a host answers pings", "kind": "icmp"},
    "dns_udp": {
        "description": "a name server answers a question without error",
        "kind": "dns",
        "expect": ["rcode=NOERROR"],
    },
    "dns_tcp": {
        "description": "the same over TCP",
        "kind": "dns",
        "transport": "tcp",
        "expect": ["rcode=NOERROR"],
    },
    "tls_connect": {
        "description": "a TLS server shows a certificate that verifies and lasts two weeks more",
        "kind": "tls",
        "expect": ["verified=yes", "expires-in=14d"],
    },
}


@dataclass(frozen=True, slots=True)
class Module:
    """``options`` by their names in the file, converted; ``source`` says where it stands."""

    name: str
    source: str
    options: Mapping[str, Any]
    description: str = ""


def tables(config: Config, context: MeshContext | None) -> Tables:
    """Those of the context in force, then those of the file."""
    own = [(context.modules, f"context {context.name}")] if context is not None else []
    return [*own, (config.modules, "the file")]


def find(name: str, tables: Tables, path: Path) -> Module:
    """The first of that name in ``tables`` (each with where it stands), else the built-in one. Raises
    :class:`InvalidRequest`."""
    places = everything(tables)
    if name not in places:
        hint = did_you_mean(name, places) or f"known: {', '.join(places)}; write [modules.NAME] in {path}"
        raise InvalidRequest(f"there is no module '{escape(name, 80)}'", hint)
    table, source = places[name]
    return read(name, table, source, path)


def everything(tables: Tables) -> dict[str, tuple[Any, str]]:
    """Every module as it stands and where, those of earlier ``tables`` before later ones."""
    found: dict[str, tuple[Any, str]] = {}
    for modules, source in (*tables, (_BUILT_IN, BUILT_IN)):
        for name, table in modules.items():
            found.setdefault(name, (table, source))
    return found


def read(name: str, table: object, source: str, path: Path) -> Module:
    """One module as its file has it. Raises :class:`InvalidRequest` with file, module, key and what to do."""
    place = {BUILT_IN: BUILT_IN, "the file": str(path)}.get(source, f"{path}, {source}")
    where = f"{place}, module {escape(name, 80)}"
    check_name(name.replace("_", "-"), f"module name in {path}")
    if not isinstance(table, Mapping):
        raise InvalidRequest(f"{where} is not a table", "write [modules.NAME], and its options below")
    options = {}
    for key, value in table.items():
        if key == "description":
            continue
        plain = key.replace("-", "_")
        options[plain] = fields.read(plain, value, where, path.parent)
    _check_expectations(options, where)
    description = table.get("description", "")
    if not isinstance(description, str):
        raise InvalidRequest(f"{where}: description is not a text", 'write description = "…"')
    return Module(name, source, options, description)


def _check_expectations(options: Mapping[str, Any], where: str) -> None:
    """What is no bare text for udp is read at once, so that a slip is told with its place."""
    for text in options.get("expect", ()):
        try:
            if "udp" not in options.get("kind", ()) or text.partition("=")[0].strip().lower() in KEYS:
                parse_expectation(text)
        except InvalidRequest as wrong:
            raise InvalidRequest(f"{where}: expect: {wrong}", wrong.hint) from None


def applied(asked: Asked, module: Module, given: frozenset[str]) -> Asked:
    """``asked`` with the module's options where the command line (``given``: ``--count`` …) says nothing.
    Expectations of a key that it does not name stay."""
    for key, value in module.options.items():
        if key in fields.OF_THE_RUN:
            continue
        if key == "expect":
            asked = replace(asked, expect=_merged(asked, value))
        elif not _said(key, given):
            asked = fields.with_value(asked, key, value)
    return asked


def _said(key: str, given: frozenset[str]) -> bool:
    return bool(given & {"-4", "-6"}) if key == "family" else fields.option(key) in given


def _merged(asked: Asked, saved: Sequence[str]) -> tuple[str, ...]:
    named = {text.partition("=")[0].strip().lower() for text in asked.expect}
    named |= {"status"} if asked.expect_status is not None else set()
    named |= {"body"} if asked.expect_body is not None else set()
    kept = [text for text in saved if text.partition("=")[0].strip().lower() not in named]
    return (*kept, *asked.expect)

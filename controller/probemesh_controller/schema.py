"""JSON Schema of every ``-o json`` output, generated from :mod:`probemesh_shared.jsonshape`, and of the file
of meshes, from :mod:`probemesh_controller.meshes.shape`.

``python -m probemesh_controller.schema`` writes ``docs/schema/*.schema.json``; with ``--check`` it only says
which are stale, and ends with 1 if any is.
"""

import json
import sys
import types
import typing
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from probemesh_shared import jsoncontract, jsonmesh, jsonshape, jsontrust

from probemesh_controller.meshes.shape import MeshFileToml

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schema"
ROOTS: dict[str, type] = {
    "probe": jsonshape.ResultJson,
    "diagnose": jsonshape.DiagnosisJson,
    "trace": jsonshape.TraceJson,
    "nat": jsonshape.NatJson,
    "history": jsonshape.HistoryJson,
    "agents": jsonshape.AgentsJson,
    "token": jsonshape.TokenJson,
    "audit": jsonshape.AuditJson,
    "doctor": jsonshape.DoctorJson,
    "modules": jsonshape.ModulesJson,
    "operators": jsontrust.OperatorsJson,
    "ca": jsontrust.CaJson,
    "check-config": jsonmesh.CheckConfigJson,
    "matrix": jsonmesh.MatrixJson,
    "meshes-file": MeshFileToml,
    "check": jsoncontract.CheckJson,
}
#: Printed as an array where there are several.
_SEVERAL = frozenset({"probe"})
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
#: Shapes of files that people write: what is not known there is an error.
_WRITTEN = "Toml"
_TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"


def schema_of(name: str) -> dict[str, Any]:
    """The schema of one command's output (draft 2020-12); shapes used by it stand in ``$defs``."""
    definitions: dict[str, Any] = {}
    root = _type(ROOTS[name], definitions)
    if name in _SEVERAL:
        root = {"oneOf": [root, {"type": "array", "items": root, "minItems": 2}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://probemesh.dev/schema/1/{name}.schema.json",
        "title": (ROOTS[name].__doc__ or name).strip(),
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def render(name: str) -> str:
    return json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n"


def _type(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        extra = {"description": args[1]} | ({"pattern": _TIME_PATTERN} if hint == jsonshape.Time else {})
        return _type(args[0], definitions) | extra
    if origin is typing.Required:
        return _type(args[0], definitions)
    if origin in (types.UnionType, typing.Union):
        return _union([_type(arg, definitions) for arg in args])
    if origin is Literal:
        return {"enum": list(args)}
    if origin is list:
        return {"type": "array", "items": _type(args[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(args[1], definitions)}
    if hint is datetime:
        return {"type": "string", "format": "date-time"}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"enum": [word.value for word in hint]}
    return _shape(hint, definitions)


def _union(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """``T | null`` folded into T's own keywords where that can be read; else anyOf."""
    null = {"type": "null"}
    others = [part for part in parts if part != null]
    if len(others) == 1 and null in parts:
        only = others[0]
        if "enum" in only:
            return only | {"enum": [*only["enum"], None]}
        if isinstance(only.get("type"), str):
            return only | {"type": [only["type"], "null"]}
    return {"anyOf": parts}


def _shape(shape: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    name = shape.__name__.removesuffix("Json").removesuffix(_WRITTEN)
    if name not in definitions:
        definitions[name] = {}  # holds the place, should shapes ever nest in themselves
        hints = typing.get_type_hints(shape, include_extras=True)
        described = {"description": shape.__doc__.strip()} if shape.__doc__ else {}
        definitions[name] = {
            "type": "object",
            **described,
            "properties": {key: _type(hint, definitions) for key, hint in hints.items()},
            "required": [key for key in hints if key in shape.__required_keys__],
            **({"additionalProperties": False} if shape.__name__.endswith(_WRITTEN) else {}),
        }
    return {"$ref": f"#/$defs/{name}"}


def main(arguments: list[str]) -> int:
    stale = []
    for name in ROOTS:
        path = FOLDER / f"{name}.schema.json"
        text = render(name)
        if "--check" in arguments:
            if not path.exists() or path.read_text() != text:
                stale.append(path.name)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for file in stale:
        print(f"stale: docs/schema/{file}; run python -m probemesh_controller.schema", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

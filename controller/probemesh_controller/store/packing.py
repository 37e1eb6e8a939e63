"""How the SQLite store writes nouns into columns: JSON for small collections, protobuf for measurements."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from probemesh_shared.convert import from_proto, parse, to_proto
from probemesh_shared.model import Measurement, Narrowing
from probemesh_shared.narrowing import as_table, read_narrowing
from probemesh_shared.session.frames import ResultBatch
from probemesh_shared.wire.compiler import message_class
from probemesh_shared.words import Role

from probemesh_controller.store.port import (
    AgentRecord,
    CertificateRecord,
    OperatorRecord,
    RunRecord,
    TokenRecord,
)

#: Stands in a packed batch for its job id, which is a column.
_NO_JOB = "-"


def dumps(value: Mapping[str, str] | Iterable[str]) -> str:
    plain: Any = dict(value) if isinstance(value, Mapping) else list(value)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _strings(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def pack(measurements: tuple[Measurement, ...]) -> bytes:
    """A ResultBatch without job and number: those are columns."""
    return to_proto(ResultBatch(_NO_JOB, 0, measurements)).SerializeToString()


def unpack(body: bytes) -> tuple[Measurement, ...]:
    """Raises BadMessage (an InvalidRequest) for what :func:`pack` did not write."""
    return from_proto(ResultBatch, parse(message_class(ResultBatch), body)).measurements


def _narrow_text(narrow: Narrowing | None) -> str | None:
    if narrow is None:
        return None
    return json.dumps({"source": narrow.source, **as_table(narrow)}, separators=(",", ":"))


def _narrow_of(text: str | None) -> Narrowing | None:
    """Raises InvalidRequest for what :func:`_narrow_text` did not write: damage widens nothing."""
    if text is None:
        return None
    table = dict(json.loads(text))
    return read_narrowing(table, table.pop("source"))


def agent_row(record: AgentRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "site": record.site,
        "labels": dumps(record.labels),
        "ephemeral": record.ephemeral,
        "revoked": record.revoked,
        "created_ns": record.created_ns,
        "last_seen_ns": record.last_seen_ns,
        "version": record.version,
        "addresses": dumps(record.addresses),
        "capabilities": dumps(record.capabilities),
        "narrow": _narrow_text(record.narrow),
    }


def agent_of(row: sqlite3.Row) -> AgentRecord:
    return AgentRecord(
        id=row["id"],
        name=row["name"],
        site=row["site"],
        labels=json.loads(row["labels"]),
        ephemeral=bool(row["ephemeral"]),
        revoked=bool(row["revoked"]),
        created_ns=row["created_ns"],
        last_seen_ns=row["last_seen_ns"],
        version=row["version"],
        addresses=_strings(row["addresses"]),
        capabilities=_strings(row["capabilities"]),
        narrow=_narrow_of(row["narrow"]),
    )


def token_row(record: TokenRecord) -> dict[str, Any]:
    return {
        "secret_sha256": record.secret_sha256,
        "id": record.id,
        "role": record.role.value,
        "expires_ns": record.expires_ns,
        "uses_left": record.uses_left,
        "name": record.name,
        "site": record.site,
        "labels": dumps(record.labels),
        "ephemeral": record.ephemeral,
        "created_by": record.created_by,
        "narrow": _narrow_text(record.narrow),
    }


def token_of(row: sqlite3.Row) -> TokenRecord:
    return TokenRecord(
        id=row["id"],
        secret_sha256=row["secret_sha256"],
        role=Role(row["role"]),
        expires_ns=row["expires_ns"],
        uses_left=row["uses_left"],
        name=row["name"],
        site=row["site"],
        labels=json.loads(row["labels"]),
        ephemeral=bool(row["ephemeral"]),
        created_by=row["created_by"],
        narrow=_narrow_of(row["narrow"]),
    )


def certificate_row(record: CertificateRecord) -> dict[str, Any]:
    return {
        "serial": record.serial,
        "role": record.role.value,
        "subject_id": record.subject_id,
        "name": record.name,
        "not_after_ns": record.not_after_ns,
        "revoked": record.revoked,
        "issuer": record.issuer or None,
        "trust": " ".join(record.trust) or None,
        "issued_ns": record.issued_ns,
        "used_ns": record.used_ns,
    }


def certificate_of(row: sqlite3.Row) -> CertificateRecord:
    return CertificateRecord(
        serial=row["serial"],
        role=Role(row["role"]),
        subject_id=row["subject_id"],
        name=row["name"],
        not_after_ns=row["not_after_ns"],
        revoked=bool(row["revoked"]),
        issuer=row["issuer"] or "",
        trust=tuple((row["trust"] or "").split()),
        issued_ns=row["issued_ns"],
        used_ns=row["used_ns"],
    )


def operator_row(record: OperatorRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "role": record.role.value,
        "created_ns": record.created_ns,
        "created_by": record.created_by,
        "renewed_ns": record.renewed_ns,
        "revoked": record.revoked,
    }


def operator_of(row: sqlite3.Row) -> OperatorRecord:
    return OperatorRecord(
        name=row["name"],
        role=Role(row["role"]),
        created_ns=row["created_ns"],
        created_by=row["created_by"],
        renewed_ns=row["renewed_ns"],
        revoked=bool(row["revoked"]),
    )


def run_of(row: sqlite3.Row) -> RunRecord:
    return RunRecord(
        id=row["id"],
        started_ns=row["started_ns"],
        asked_by=row["asked_by"],
        targets=_strings(row["targets"]),
        agents=_strings(row["agents"]),
        ended_ns=row["ended_ns"],
        cancelled=bool(row["cancelled"]),
    )

"""The store in one SQLite file: WAL, synchronous NORMAL, one connection, used by one thread at a time.

A full disk or a failing one makes single calls raise StateError and leaves the file whole and readable; a
file that cannot be read as our database is refused at opening and never replaced.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from probemesh_shared.errors import InvalidRequest, MeshError, StateError
from probemesh_shared.model import Measurement

from probemesh_controller.store import packing
from probemesh_controller.store.matrix.folding import MatrixUpkeep
from probemesh_controller.store.port import (
    AgentRecord,
    CertificateRecord,
    OperatorRecord,
    RunRecord,
    StoredMeasurement,
    TokenRecord,
)


class SqliteStore(MatrixUpkeep):
    """See :class:`probemesh_controller.store.port.Store`. Raises StateError where ``path`` cannot be used."""

    def _row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None

    def _insert(self, table: str, row: dict[str, Any], refusal: str) -> None:
        columns, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
        with self._change() as db:
            try:
                db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row)  # noqa: S608
            except sqlite3.IntegrityError:
                raise InvalidRequest(refusal) from None

    # --- agents

    def put_agent(self, record: AgentRecord) -> None:
        row = packing.agent_row(record)
        columns, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
        updates = ", ".join(f"{name} = excluded.{name}" for name in row if name != "id")
        with self._change() as db:
            try:
                db.execute(
                    f"INSERT INTO agent ({columns}) VALUES ({marks}) "  # noqa: S608
                    f"ON CONFLICT (id) DO UPDATE SET {updates}",
                    row,
                )
            except sqlite3.IntegrityError:
                raise InvalidRequest(f"the name {record.name} belongs to another agent") from None

    def agent_by_id(self, agent_id: str) -> AgentRecord | None:
        row = self._row("SELECT * FROM agent WHERE id = ?", agent_id)
        return None if row is None else packing.agent_of(row)

    def agent_by_name(self, name: str) -> AgentRecord | None:
        row = self._row(
            "SELECT * FROM agent WHERE name = ? ORDER BY revoked, created_ns DESC, id DESC LIMIT 1", name
        )
        return None if row is None else packing.agent_of(row)

    def agents(self) -> tuple[AgentRecord, ...]:
        return tuple(map(packing.agent_of, self._rows("SELECT * FROM agent ORDER BY name, created_ns, id")))

    def delete_agent(self, agent_id: str) -> None:
        with self._change() as db:
            db.execute("DELETE FROM agent WHERE id = ?", (agent_id,))

    # --- tokens and certificates

    def add_token(self, record: TokenRecord) -> None:
        self._insert("token", packing.token_row(record), "this token exists already")

    def token(self, secret_sha256: str) -> TokenRecord | None:
        row = self._row("SELECT * FROM token WHERE secret_sha256 = ?", secret_sha256)
        return None if row is None else packing.token_of(row)

    def redeem_token(self, secret_sha256: str, now_ns: int) -> TokenRecord | None:
        with self._change() as db:
            row = db.execute(
                "SELECT * FROM token WHERE secret_sha256 = ? AND expires_ns > ? AND uses_left > 0",
                (secret_sha256, now_ns),
            ).fetchone()
            if row is None:
                return None
            db.execute("UPDATE token SET uses_left = uses_left - 1 WHERE secret_sha256 = ?", (secret_sha256,))
            return packing.token_of(row)

    def add_certificate(self, record: CertificateRecord) -> None:
        row = packing.certificate_row(record)
        self._insert("certificate", row, f"certificate {record.serial} exists already")

    def certificate(self, serial: str) -> CertificateRecord | None:
        row = self._row("SELECT * FROM certificate WHERE serial = ?", serial)
        return None if row is None else packing.certificate_of(row)

    def certificates(self, after_ns: int) -> tuple[CertificateRecord, ...]:
        rows = self._rows(
            "SELECT * FROM certificate WHERE not_after_ns > ? ORDER BY name, issued_ns, serial", after_ns
        )
        return tuple(map(packing.certificate_of, rows))

    def use_certificate(self, serial: str, now_ns: int) -> None:
        with self._change() as db:
            db.execute("UPDATE certificate SET used_ns = ? WHERE serial = ?", (now_ns, serial))

    def adopt_certificates(self, issuer: str) -> None:
        with self._change() as db:
            db.execute("UPDATE certificate SET issuer = ?, trust = ? WHERE issuer IS NULL", (issuer, issuer))

    def prune_certificates(self, before_ns: int) -> int:
        with self._change() as db:
            return db.execute("DELETE FROM certificate WHERE not_after_ns < ?", (before_ns,)).rowcount

    def revoke_certificates(self, subject_id: str) -> tuple[str, ...]:
        with self._change() as db:
            db.execute("UPDATE certificate SET revoked = 1 WHERE subject_id = ?", (subject_id,))
            rows = db.execute(
                "SELECT serial FROM certificate WHERE subject_id = ? ORDER BY serial", (subject_id,)
            ).fetchall()
            return tuple(row["serial"] for row in rows)

    def revoked_serials(self) -> frozenset[str]:
        return frozenset(row["serial"] for row in self._rows("SELECT serial FROM certificate WHERE revoked"))

    # --- operators

    def put_operator(self, record: OperatorRecord) -> None:
        row = packing.operator_row(record)
        columns, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
        with self._change() as db:
            db.execute(f"INSERT OR REPLACE INTO operator ({columns}) VALUES ({marks})", row)  # noqa: S608

    def operator(self, name: str) -> OperatorRecord | None:
        row = self._row("SELECT * FROM operator WHERE name = ?", name)
        return None if row is None else packing.operator_of(row)

    def operators(self) -> tuple[OperatorRecord, ...]:
        return tuple(map(packing.operator_of, self._rows("SELECT * FROM operator ORDER BY name")))

    # --- runs and measurements

    def add_run(self, record: RunRecord) -> None:
        row = asdict(record) | {
            "targets": packing.dumps(record.targets),
            "agents": packing.dumps(record.agents),
        }
        self._insert("run", row, f"run {record.id} exists already")

    def end_run(self, run_id: str, ended_ns: int, cancelled: bool) -> None:
        with self._change() as db:
            db.execute(
                "UPDATE run SET ended_ns = ?, cancelled = ? WHERE id = ?", (ended_ns, cancelled, run_id)
            )

    def runs(self, limit: int) -> tuple[RunRecord, ...]:
        rows = self._rows("SELECT * FROM run ORDER BY started_ns DESC, id DESC LIMIT ?", limit)
        return tuple(map(packing.run_of, rows))

    def add_measurements(
        self,
        run_id: str,
        agent_id: str,
        job_id: str,
        spec_index: int,
        seq: int,
        measurements: Iterable[Measurement],
    ) -> bool:
        batch = tuple(measurements)
        with self._change() as db:
            cursor = db.execute(
                "INSERT OR IGNORE INTO batch (job_id, seq, run_id, agent_id, spec_index, count, body) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (job_id, seq, run_id, agent_id, spec_index, len(batch), packing.pack(batch)),
            )
            return cursor.rowcount == 1

    def measurements(self, run_id: str) -> tuple[StoredMeasurement, ...]:
        rows = self._rows("SELECT * FROM batch WHERE run_id = ? ORDER BY rowid", run_id)
        return tuple(
            StoredMeasurement(row["agent_id"], row["job_id"], row["spec_index"], measurement)
            for row in rows
            for measurement in self._unpack(row["body"])
        )

    def batch(self, job_id: str, seq: int) -> tuple[Measurement, ...] | None:
        row = self._row("SELECT body FROM batch WHERE job_id = ? AND seq = ?", job_id, seq)
        return None if row is None else self._unpack(row["body"])

    def _unpack(self, body: bytes) -> tuple[Measurement, ...]:
        try:
            return packing.unpack(body)
        except MeshError as error:
            raise StateError(f"a batch stored in {self.path} cannot be read: {error}") from error

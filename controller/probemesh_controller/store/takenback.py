"""Trust that was taken back since a backup was made stays taken back when it is restored.

Certificates, agents and operators that are revoked in the store that goes are so in the one that comes, known
there or not; tokens have no more uses left than they had.
"""

import sqlite3

_CERTIFICATE = "serial, role, subject_id, name, not_after_ns"


def carry_over(old: sqlite3.Connection, new: sqlite3.Connection) -> int:
    """How many rows of ``new``, of the newest schema and in autocommit mode, were changed. Raises
    sqlite3.Error, and has changed nothing then."""
    certificates = old.execute(f"SELECT {_CERTIFICATE} FROM certificate WHERE revoked").fetchall()  # noqa: S608
    agents = old.execute("SELECT id FROM agent WHERE revoked").fetchall()
    operators = old.execute("SELECT name FROM operator WHERE revoked").fetchall()
    tokens = old.execute("SELECT uses_left, secret_sha256 FROM token").fetchall()
    before = new.total_changes
    new.execute("BEGIN")
    try:
        new.executemany(
            f"INSERT INTO certificate ({_CERTIFICATE}, revoked) VALUES (?, ?, ?, ?, ?, 1) "  # noqa: S608
            "ON CONFLICT (serial) DO UPDATE SET revoked = 1 WHERE NOT revoked",
            certificates,
        )
        new.executemany("UPDATE agent SET revoked = 1 WHERE id = ? AND NOT revoked", agents)
        new.executemany("UPDATE operator SET revoked = 1 WHERE name = ? AND NOT revoked", operators)
        new.executemany("UPDATE token SET uses_left = ?1 WHERE secret_sha256 = ?2 AND uses_left > ?1", tokens)
        new.execute("COMMIT")
    except sqlite3.Error:
        if new.in_transaction:
            new.execute("ROLLBACK")
        raise
    return new.total_changes - before

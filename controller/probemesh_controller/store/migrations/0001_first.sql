-- Agents, tokens, certificates, runs, and measurements as they came: one row a batch, packed.
CREATE TABLE agent (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    site         TEXT,
    labels       TEXT NOT NULL,              -- JSON object
    ephemeral    INTEGER NOT NULL,
    revoked      INTEGER NOT NULL,
    created_ns   INTEGER NOT NULL,
    last_seen_ns INTEGER,
    version      TEXT,
    addresses    TEXT NOT NULL,              -- JSON array
    capabilities TEXT NOT NULL               -- JSON array
) WITHOUT ROWID;
-- A name belongs to one unrevoked agent at a time.
CREATE UNIQUE INDEX agent_name ON agent (name) WHERE NOT revoked;
CREATE INDEX agent_name_all ON agent (name, created_ns);

CREATE TABLE token (
    secret_sha256 TEXT PRIMARY KEY,
    id            TEXT NOT NULL,
    role          TEXT NOT NULL,
    expires_ns    INTEGER NOT NULL,
    uses_left     INTEGER NOT NULL CHECK (uses_left >= 0),
    name          TEXT,
    site          TEXT,
    labels        TEXT NOT NULL,
    ephemeral     INTEGER NOT NULL,
    created_by    TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE certificate (
    serial       TEXT PRIMARY KEY,
    role         TEXT NOT NULL,
    subject_id   TEXT NOT NULL,
    name         TEXT NOT NULL,
    not_after_ns INTEGER NOT NULL,
    revoked      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX certificate_subject ON certificate (subject_id);
CREATE INDEX certificate_revoked ON certificate (serial) WHERE revoked;

CREATE TABLE run (
    id         TEXT PRIMARY KEY,
    started_ns INTEGER NOT NULL,
    asked_by   TEXT NOT NULL,
    targets    TEXT NOT NULL,                -- JSON array
    agents     TEXT NOT NULL,                -- JSON array
    ended_ns   INTEGER,
    cancelled  INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX run_started ON run (started_ns);

-- (job_id, seq) is what makes storing idempotent. body: a ResultBatch of proto/probemesh/v1/session.proto
-- with nothing but its measurements.
CREATE TABLE batch (
    job_id     TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    run_id     TEXT NOT NULL,
    agent_id   TEXT NOT NULL,
    spec_index INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    body       BLOB NOT NULL,
    UNIQUE (job_id, seq)
);
CREATE INDEX batch_run ON batch (run_id);

-- Operators by name, and of each certificate who issued it, what its holder trusts since, when it was shown.
CREATE TABLE operator (
    name       TEXT PRIMARY KEY,
    role       TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    renewed_ns INTEGER,
    revoked    INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO operator
    SELECT subject_id, role, 0, '', NULL, 0 FROM
        (SELECT subject_id, role, max(not_after_ns) FROM certificate
         WHERE role IN ('viewer', 'operator', 'admin') GROUP BY subject_id);

-- Fingerprints of CAs: SHA-256, hexadecimal, trust with a space between them. NULL: before there was a choice.
ALTER TABLE certificate ADD COLUMN issuer TEXT;
ALTER TABLE certificate ADD COLUMN trust TEXT;
ALTER TABLE certificate ADD COLUMN issued_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE certificate ADD COLUMN used_ns INTEGER;
CREATE INDEX certificate_end ON certificate (not_after_ns);

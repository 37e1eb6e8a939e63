-- The standing mesh. A series is one cell of one schedule: a source's agent id, a TARGET or agent, a probe's label.
CREATE TABLE series (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule TEXT NOT NULL,
    source   TEXT NOT NULL,
    target   TEXT NOT NULL,
    probe    TEXT NOT NULL,
    UNIQUE (schedule, source, target, probe)
);

-- The newest slot of each. flags: state in the lowest 3 bits, then silent, retried, filled (store/matrix/codes.py).
CREATE TABLE latest (
    series  INTEGER PRIMARY KEY,
    number  INTEGER NOT NULL,
    at_ns   INTEGER NOT NULL,
    flags   INTEGER NOT NULL,
    rtt_us  INTEGER,
    sent    INTEGER NOT NULL,
    lost    INTEGER NOT NULL,
    failure INTEGER NOT NULL
);

-- Rows as they come. chunk: five minutes; shard: eight series, so that what comes together lies together.
CREATE TABLE tail (
    chunk   INTEGER NOT NULL,
    shard   INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    series  INTEGER NOT NULL,
    at_ns   INTEGER NOT NULL,
    flags   INTEGER NOT NULL,
    rtt_us  INTEGER,
    sent    INTEGER NOT NULL,
    lost    INTEGER NOT NULL,
    failure INTEGER NOT NULL,
    PRIMARY KEY (chunk, shard, number, series)
) WITHOUT ROWID;

-- Then packed (store/matrix/columns.py), first in pieces, into raw once the hour is over, where pages stay full.
-- id: hour since the epoch << 32 | series. count: of rows; -1 where they cannot be read.
CREATE TABLE started (
    id      INTEGER PRIMARY KEY,
    last_ns INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    body    BLOB NOT NULL
);
CREATE TABLE raw (id INTEGER PRIMARY KEY, body BLOB NOT NULL);

-- Roll-ups (store/matrix/rollup.py). id: hour << 32 | series, and day << 32 | series.
CREATE TABLE minutes (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE hours   (id INTEGER PRIMARY KEY, body BLOB NOT NULL);

-- Raw rows of earlier hours than this are gone or going, and are not taken any more.
CREATE TABLE raw_since (hour INTEGER NOT NULL);
INSERT INTO raw_since VALUES (0);

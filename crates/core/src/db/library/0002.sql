-- The index. docs/data.md says what each table is for, what a row costs and what must be true after a crash.

-- One feed a device; this device's own feed is 1. A feed has one writer.
CREATE TABLE feeds (
    feed     INTEGER PRIMARY KEY,
    head_seq INTEGER NOT NULL,
    head_eid INTEGER NOT NULL
) STRICT;
INSERT INTO feeds (feed, head_seq, head_eid) VALUES (1, 0, 0);

CREATE TABLE locations (
    feed     INTEGER NOT NULL,
    lid      INTEGER NOT NULL,
    id       BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    root     INTEGER NOT NULL,           -- eid of the entry that stands for the folder itself
    name     TEXT NOT NULL,
    path     BLOB NOT NULL,
    mode     INTEGER NOT NULL,
    rules    INTEGER NOT NULL,
    inode    INTEGER NOT NULL,           -- of the folder, so that another one in its place is found out
    problem  TEXT,                       -- why it is offline
    files    INTEGER NOT NULL DEFAULT 0, -- these four: kept in the transaction that changes the entries
    dirs     INTEGER NOT NULL DEFAULT 0,
    bytes    INTEGER NOT NULL DEFAULT 0,
    errors   INTEGER NOT NULL DEFAULT 0,
    complete INTEGER NOT NULL DEFAULT 0, -- whether the folder was walked to its end once
    seq      INTEGER NOT NULL,
    PRIMARY KEY (feed, lid)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    feed   INTEGER NOT NULL,
    eid    INTEGER NOT NULL,             -- dense, never used again
    parent INTEGER NOT NULL,             -- eid; 0 for the root entry of a location
    kind   INTEGER NOT NULL,             -- 0 file, 1 folder, 2 symlink, 3 other
    name   BLOB NOT NULL,                -- bytes as on disk; the location's id for a root entry
    size   INTEGER NOT NULL,
    mtime  INTEGER NOT NULL,             -- nanoseconds since 1970
    inode  INTEGER NOT NULL,
    flags  INTEGER NOT NULL,             -- see index/flags.rs
    cas    BLOB,                         -- BLAKE3 of the bytes that had this size and mtime
    seq    INTEGER NOT NULL,
    PRIMARY KEY (feed, eid)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entries_name ON entries (feed, parent, name);
CREATE INDEX entries_folder ON entries (feed, inode) WHERE kind = 1;

CREATE TABLE jobs (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16),
    kind       TEXT NOT NULL,
    args       TEXT NOT NULL,
    lane       TEXT NOT NULL,            -- two jobs of one lane never run at once
    status     INTEGER NOT NULL,         -- see jobs.rs
    checkpoint TEXT,
    done       INTEGER NOT NULL DEFAULT 0,
    total      INTEGER,
    unit       TEXT NOT NULL DEFAULT '',
    message    TEXT NOT NULL DEFAULT '',
    created    INTEGER NOT NULL,         -- milliseconds since 1970, as the next two
    started    INTEGER,
    finished   INTEGER,
    errors     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_status ON jobs (status, created);

CREATE TABLE job_errors (
    job  BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    n    INTEGER NOT NULL,
    path BLOB NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (job, n)
) STRICT, WITHOUT ROWID;

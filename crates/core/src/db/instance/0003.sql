-- The jobs of no library; the tables are those of library.db.
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

-- Copies, moves and deletions: the job of the same id runs it, and what it did can be undone.
CREATE TABLE operations (
    id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    number      INTEGER NOT NULL UNIQUE,          -- in the order in which they were accepted
    action      TEXT NOT NULL CHECK (action IN ('copy', 'move', 'delete')),
    work        TEXT NOT NULL,                    -- what was asked for, as JSON
    state       TEXT NOT NULL CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    position    TEXT,                             -- how far it is, as JSON
    message     TEXT NOT NULL DEFAULT '',
    fault       TEXT,                             -- why it failed, in a word for programs
    created_at  INTEGER NOT NULL,                 -- milliseconds since 1970
    started_at  INTEGER,
    finished_at INTEGER,
    undo        TEXT CHECK (undo IN ('begun', 'done'))
) STRICT, WITHOUT ROWID;

-- What it did or is about to do: a step is written here before it is taken.
CREATE TABLE operation_steps (
    operation    BLOB NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    seq          INTEGER NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('put', 'folder', 'rename', 'trash', 'leave')),
    settled      INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)),
    source       BLOB NOT NULL,                   -- where it was (absolute path)
    held         BLOB NOT NULL,                   -- where it is until the step is taken
    target       BLOB NOT NULL,                   -- where it is afterwards
    dev          INTEGER NOT NULL,                -- which file it is: a rename keeps these two
    ino          INTEGER NOT NULL,
    size         INTEGER NOT NULL,
    modified_s   INTEGER NOT NULL,
    modified_ns  INTEGER NOT NULL,
    mode         INTEGER NOT NULL,
    replaced_dev INTEGER,                         -- which file was at the target before
    replaced_ino INTEGER,
    trashed      BLOB,                            -- where that one, or the deleted one, lies in the trash
    PRIMARY KEY (operation, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX operation_steps_file ON operation_steps (operation, dev, ino);

CREATE TABLE operation_problems (
    operation    BLOB NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    seq          INTEGER NOT NULL,
    path         BLOB NOT NULL,
    message      TEXT NOT NULL,
    verification INTEGER NOT NULL CHECK (verification IN (0, 1)),
    PRIMARY KEY (operation, seq)
) STRICT, WITHOUT ROWID;

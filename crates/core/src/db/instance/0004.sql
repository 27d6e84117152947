-- Files that were sent to other devices or offered by them, and how far they are.
CREATE TABLE drops (
    outgoing INTEGER NOT NULL CHECK (outgoing IN (0, 1)),
    device BLOB NOT NULL CHECK (length(device) = 32),
    id BLOB NOT NULL CHECK (length(id) = 16),
    state TEXT NOT NULL,
    sender TEXT NOT NULL,
    message TEXT,
    -- JSON arrays of paths: what is sent (outgoing), and the top-level names.
    paths TEXT NOT NULL,
    names TEXT NOT NULL,
    target BLOB,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    moved INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    problem TEXT,
    -- Which kind of failure the problem is.
    kind TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (outgoing, device, id)
) STRICT, WITHOUT ROWID;

-- What happens to the drops of a device; none: a person is asked.
CREATE TABLE drop_trust (
    device BLOB PRIMARY KEY CHECK (length(device) = 32),
    drops TEXT NOT NULL CHECK (drops IN ('ask', 'accept', 'refuse'))
) STRICT, WITHOUT ROWID;

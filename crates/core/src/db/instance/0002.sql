-- Devices that this instance was paired with. A pending one authorises nothing.
CREATE TABLE devices (
    endpoint  BLOB PRIMARY KEY NOT NULL CHECK (length(endpoint) = 32),
    device    BLOB NOT NULL CHECK (length(device) = 16),
    name      TEXT NOT NULL,
    os        TEXT NOT NULL,
    version   TEXT NOT NULL,
    addresses TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('pending', 'paired')),
    paired_at INTEGER NOT NULL,
    last_seen INTEGER
) STRICT, WITHOUT ROWID;

-- Devices that were revoked: they may not connect, and stay out when an older copy of this file comes back.
CREATE TABLE tombstones (
    endpoint   BLOB PRIMARY KEY NOT NULL CHECK (length(endpoint) = 32),
    revoked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

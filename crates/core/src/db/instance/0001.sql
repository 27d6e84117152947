-- Libraries that lie outside the instance's own folder, and those that a person closed.
CREATE TABLE libraries (
    path   BLOB PRIMARY KEY NOT NULL,
    closed INTEGER NOT NULL CHECK (closed IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Which library this file belongs to: compared with library.json, so that two swapped files are found out.
CREATE TABLE library (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id  BLOB NOT NULL CHECK (length(id) = 16)
) STRICT;

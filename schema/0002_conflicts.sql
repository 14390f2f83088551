-- Addresses that two clients were granted (safety.md 19): one row for each, the newest; bounded by the node.
CREATE TABLE conflict (
    key    BLOB PRIMARY KEY NOT NULL,  -- family octet, then the address in network order
    record TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    wall   REAL NOT NULL
) WITHOUT ROWID;

-- The journal, and the tables that it folds into (failoverd/shell/fold.py).
--
-- Every change is first one appended journal row; a send leaves after that commit. The fold moves the newest record of each
-- key into its table, a slice at a time, and moves store.folded in the same transaction. What is stored at any moment is
-- therefore: the tables, overlaid with the journal rows above store.folded. Folded rows stay as history until pruned.

PRAGMA application_id = 0x464f5644;  -- "FOVD"

CREATE TABLE journal (
    seq    INTEGER PRIMARY KEY,  -- contiguous, never reused: the commit generation is the newest seq
    wall   REAL NOT NULL,        -- UTC seconds of the commit
    kind   TEXT NOT NULL,        -- lease, ddns, relationship, event, meta
    key    BLOB NOT NULL,        -- unique within the kind; of a lease: family octet, then the address in network order
    record TEXT,                 -- JSON; NULL deletes the row
    origin TEXT NOT NULL,        -- who caused it: client, partner, timer, operator, dns, boot
    cause  TEXT NOT NULL
);

-- What the store knows of itself. One row.
CREATE TABLE store (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    uuid        TEXT NOT NULL,   -- of this database, given at its creation; a backup carries the same
    folded      INTEGER NOT NULL,  -- journal rows up to this seq are in the tables
    folded_wall REAL NOT NULL,   -- wall of that row, kept when the row itself is pruned
    copied_wall REAL             -- in a backup: when it was made; NULL in a database that is in use
);
INSERT INTO store VALUES (1, lower(hex(randomblob(16))), 0, 0.0, NULL);

CREATE TABLE lease (
    family  INTEGER NOT NULL,
    address BLOB NOT NULL,
    record  TEXT NOT NULL,
    seq     INTEGER NOT NULL,    -- the journal row that this record came with
    wall    REAL NOT NULL,
    PRIMARY KEY (family, address)
) WITHOUT ROWID;

CREATE TABLE ddns (
    key    BLOB PRIMARY KEY NOT NULL,
    record TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    wall   REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE relationship (
    key    BLOB PRIMARY KEY NOT NULL,
    record TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    wall   REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL,
    seq   INTEGER NOT NULL,
    wall  REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE event (
    seq    INTEGER PRIMARY KEY,
    wall   REAL NOT NULL,
    key    BLOB NOT NULL,
    record TEXT NOT NULL,
    origin TEXT NOT NULL,
    cause  TEXT NOT NULL
);

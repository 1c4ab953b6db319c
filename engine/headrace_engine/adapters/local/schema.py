"""The tables, as forward migrations: a file of version n has had the first n of them.

A migration that was released is never edited; a change is a new one at the end. Instants are
microseconds since 1970 UTC, JSON is text, and what the engine encodes itself is a blob.
"""

from __future__ import annotations

_FIRST = """
-- Rows in order of writing, so that an append touches the last page and one page of the key.
CREATE TABLE journal (
    execution_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    writer TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (execution_id, seq)
);

CREATE TABLE snapshots (
    execution_id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    data BLOB NOT NULL
);

-- Purged executions; entries and snapshots of these are refused.
CREATE TABLE tombstones (
    execution_id TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE flows (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    source TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    PRIMARY KEY (namespace, id, revision)
);

CREATE TABLE executions (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    flow_id TEXT NOT NULL,
    flow_revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    seq INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER,
    wake_by INTEGER,
    labels TEXT NOT NULL,
    parent_id TEXT,
    trigger_id TEXT
);
CREATE INDEX executions_by_start ON executions (start, id);
CREATE INDEX executions_of_flow ON executions (namespace, flow_id, start);
CREATE INDEX executions_open ON executions (start, id) WHERE "end" IS NULL OR wake_by IS NOT NULL;
CREATE INDEX executions_due ON executions (wake_by, id) WHERE wake_by IS NOT NULL;

CREATE TABLE kv (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    expires INTEGER,
    PRIMARY KEY (namespace, key)
) WITHOUT ROWID;

-- owner is '' where only a stop request or a loss stands and nobody ever claimed.
CREATE TABLE claims (
    execution_id TEXT NOT NULL,
    task_run_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    owner TEXT NOT NULL,
    claimed INTEGER NOT NULL,
    deadline INTEGER,
    process_group INTEGER,
    process_started TEXT,
    stop_requested INTEGER NOT NULL DEFAULT 0,
    result BLOB,
    closed INTEGER,
    PRIMARY KEY (execution_id, task_run_id, number)
) WITHOUT ROWID;
CREATE INDEX claims_open ON claims (claimed) WHERE owner <> '' AND closed IS NULL;

CREATE TABLE logs (
    execution_id TEXT NOT NULL,
    batch TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    level INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    flow_id TEXT NOT NULL,
    task_id TEXT,
    task_run_id TEXT,
    attempt INTEGER,
    message TEXT NOT NULL
);
CREATE INDEX logs_by_batch ON logs (execution_id, batch);

CREATE TABLE metrics (
    execution_id TEXT NOT NULL,
    batch TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    flow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    task_run_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value REAL, -- SQLite holds no NaN: NULL stands for it
    tags TEXT NOT NULL
);
CREATE INDEX metrics_by_batch ON metrics (execution_id, batch);
"""

_SLOTS = """
CREATE TABLE slot_holders (
    flow TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    PRIMARY KEY (flow, execution_id)
) WITHOUT ROWID;

CREATE TABLE slot_queue (
    flow TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (flow, execution_id)
) WITHOUT ROWID;
"""

# What executions sent each other and is not handled yet.
_MESSAGES = """
CREATE TABLE messages (
    number INTEGER PRIMARY KEY,
    execution_id TEXT NOT NULL,
    message BLOB NOT NULL
);
"""

_TRIGGERS = """
CREATE TABLE triggers (
    namespace TEXT NOT NULL,
    flow_id TEXT NOT NULL,
    trigger_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    due INTEGER,
    data BLOB NOT NULL,
    PRIMARY KEY (namespace, flow_id, trigger_id)
);
CREATE INDEX triggers_due ON triggers (due) WHERE due IS NOT NULL AND NOT disabled;
"""

# Claims of purged executions, which are kept for a while.
_FORGOTTEN_CLAIMS = """
CREATE INDEX claims_forgotten ON claims (closed) WHERE closed IS NOT NULL AND result IS NULL;
"""

# The entry for which a slot is held, or waited for.
_SLOTS_BY_ENTRY = """
ALTER TABLE slot_holders ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE slot_queue ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
"""

# Executions have a number that stays theirs, by which the index of their texts knows them.
_SEARCHES = """
CREATE TABLE executions_numbered (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    flow_id TEXT NOT NULL,
    flow_revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    seq INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER,
    wake_by INTEGER,
    labels TEXT NOT NULL,
    parent_id TEXT,
    trigger_id TEXT
);
INSERT INTO executions_numbered
    (id, namespace, flow_id, flow_revision, state, seq, start, "end", wake_by, labels, parent_id, trigger_id)
    SELECT id, namespace, flow_id, flow_revision, state, seq, start, "end", wake_by, labels, parent_id, trigger_id
    FROM executions ORDER BY start;
DROP TABLE executions;
ALTER TABLE executions_numbered RENAME TO executions;
CREATE INDEX executions_by_start ON executions (start, id, namespace, flow_id, state);
CREATE INDEX executions_of_flow ON executions (namespace, flow_id, start, id, state);
CREATE INDEX executions_in_state ON executions (state, start, id, namespace, flow_id);
CREATE INDEX executions_of_parent ON executions (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX executions_open ON executions (start, id) WHERE "end" IS NULL OR wake_by IS NOT NULL;
CREATE INDEX executions_due ON executions (wake_by, id) WHERE wake_by IS NOT NULL;

CREATE VIRTUAL TABLE executions_text USING fts5 (text, tokenize = 'trigram');
CREATE TRIGGER executions_text_added AFTER INSERT ON executions BEGIN
    INSERT INTO executions_text (rowid, text) SELECT new.number, new.id || ' ' || new.namespace || ' ' || new.flow_id
        || coalesce((SELECT group_concat(' ' || key || ':' || value, '') FROM json_each(new.labels)), '');
END;
CREATE TRIGGER executions_text_changed AFTER UPDATE OF labels ON executions WHEN new.labels <> old.labels BEGIN
    UPDATE executions_text SET text = new.id || ' ' || new.namespace || ' ' || new.flow_id
        || coalesce((SELECT group_concat(' ' || key || ':' || value, '') FROM json_each(new.labels)), '')
    WHERE rowid = new.number;
END;
CREATE TRIGGER executions_text_removed AFTER DELETE ON executions BEGIN
    DELETE FROM executions_text WHERE rowid = old.number;
END;
INSERT INTO executions_text (rowid, text) SELECT number, id || ' ' || namespace || ' ' || flow_id
    || coalesce((SELECT group_concat(' ' || key || ':' || value, '') FROM json_each(labels)), '') FROM executions;

CREATE INDEX logs_by_time ON logs (timestamp);
CREATE INDEX logs_of_flow ON logs (namespace, flow_id, timestamp);
CREATE INDEX metrics_of_flow ON metrics (namespace, flow_id, timestamp);
"""

_IDENTITY = """
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    grants TEXT NOT NULL,
    password TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    created INTEGER,
    version INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    user_id TEXT NOT NULL,
    secret TEXT NOT NULL,
    created INTEGER NOT NULL,
    about TEXT NOT NULL,
    expires INTEGER,
    grants TEXT NOT NULL
) WITHOUT ROWID;

-- How often somebody failed to log in, until it is forgotten.
CREATE TABLE tallies (
    key TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    forget INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tallies_old ON tallies (forget);

CREATE TABLE audit (
    at INTEGER NOT NULL,
    id TEXT NOT NULL,
    who TEXT NOT NULL,
    kind TEXT NOT NULL,
    client TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    namespace TEXT NOT NULL,
    token TEXT NOT NULL,
    status INTEGER NOT NULL,
    notes TEXT NOT NULL,
    PRIMARY KEY (at, id)
) WITHOUT ROWID;
"""

_TEMPLATES = """
CREATE TABLE templates (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    source TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    PRIMARY KEY (namespace, id, revision)
);
"""

# Keys of the engine's own that are noted for a while: proofs of webhooks, links, messages of queues.
_KEYS_THAT_EXPIRE = """
CREATE INDEX kv_that_expires ON kv (namespace, expires) WHERE expires IS NOT NULL;
"""

# Which execution started one; those of older versions do not say it.
_CALLERS = """
ALTER TABLE executions ADD COLUMN caller_id TEXT;
DROP INDEX executions_of_parent;
CREATE INDEX executions_of_caller ON executions (caller_id) WHERE caller_id IS NOT NULL;
"""

# The first of the executions that one replays; those of older versions do not say it.
_ORIGINALS = """
ALTER TABLE executions ADD COLUMN original_id TEXT;
"""

MIGRATIONS: tuple[str, ...] = (
    _FIRST,
    _SLOTS,
    _MESSAGES,
    _TRIGGERS,
    _FORGOTTEN_CLAIMS,
    _SLOTS_BY_ENTRY,
    _SEARCHES,
    _IDENTITY,
    _TEMPLATES,
    _KEYS_THAT_EXPIRE,
    _CALLERS,
    _ORIGINALS,
)

"""Whether a database is what it was: lost, or rolled back to an older copy (safety.md 15). Judged from what its server says of it and
what its partner had heard before; both sides judge alike, so both know."""

from __future__ import annotations

from failoverd.failover.private import Database, Known


def loss(database: Database, known: Known | None) -> str:
    """What has become of a database since it was heard of, "" when nothing has. Of one run only its end counts; a later run must have
    begun where the last one that was heard of had come to."""
    if known is None:
        return ""
    if database.uuid != known.uuid:
        return "another database"
    reached = database.generation if database.run == known.run else database.began
    return "" if reached >= known.generation else f"rolled back from generation {known.generation} to {reached}"

"""What is kept durable about one relationship: states, epoch, stamps, waits (safety.md 9, 11, 12, 14; design.md 7)."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from failoverd.failover.message import ServerState


@dataclass(slots=True, frozen=True)
class BootFacts:
    """What the boot knows: `wall` of the boot, newest commit before it, whether the database was restored or rolled back, the longest
    lease time of the configuration, and which boot of the host it is ("" for not known)."""

    wall: float
    newest_commit: float
    restored: bool
    longest_lease_s: int
    host: str = ""


@dataclass(slots=True)
class RelationshipRecord:
    """One relationship on disk. Times in UTC seconds, 0 for never.

    `since`, `partner_since`   start of our state; when we learnt of the partner's
    `epoch`                    raised at each partner-down (safety.md 17)
    `operated`                 operation stamp: this server may have granted leases up to then + STAMP_S (safety.md 14)
    `proven`                   send time, in our clock, of the partner's last message: the last proven contact (safety.md 11)
    `offset`                   the partner's clock minus ours when last measured, None when unknown
    `offset_gap`               our wall clock less CLOCK_BOOTTIME at that moment: what it differs by now, our clock was set since
    `host`, `low_gap`, `low_seen`  in this boot of the host: the lowest wall clock less CLOCK_BOOTTIME within the longest lease time, and
                               the mono when it was last so low: a clock that is further ahead by now was set ahead (safety.md 10)
    `high_gap`, `high_seen`    the same of the highest: a clock that is further behind by now was set back
    `far_s`, `far_seen`        the largest offset within the longest lease time, without its sign, and the mono when it was last so large
    `rested`                   when every lease was last put to rest, since the partner had lost its database (safety.md 15); 0 for never
    `wait_mclt_s`              largest MCLT in force since both were last normal with everything acked (safety.md 9)
    `lost_at`                  when one of both was last met again without its database, or with an earlier one, as far as leases are known;
                               0 for never
    `forgot_s`                 told partner-down without the earlier database: how long a lease may run that it held, 0 for none
    `partner_down_since`       from when waits in partner-down count (entry, or the operator's --since), 0 outside
    `wait_all`                 partner-down declared in doubt (safety.md 12)
    `doubt`                    lone boot: the last proven contact less the margin of the clocks (safety.md 11); None when not in doubt
    `recover_until`            end of recover-wait
    `new_pair`                 an operator states that no leases exist (`pair init`, safety.md 16)
    `virgin_database`          there was no record of this relationship at boot, and it has not been normal since
    `hba`, `partner_max_unacked`  as the partner last said
    `partner_uuid`, `partner_run`, `partner_generation`  its database as it was last heard of (hex; safety.md 15); "" and 0: never
    `partner_epoch`            its epoch as it was last heard of
    `agreed`                   the epoch that both agreed on when they were last normal; None: never, or not with this partner's version
    `beyond`                   this server granted something since the last contact whose end the bound of safety.md 11 does not allow; on
                               disk with the first such grant, cleared in normal. Kept only while `agreed` is known (safety.md 17)
    """

    name: str
    state: ServerState = ServerState.RECOVER
    since: int = 0
    partner_state: ServerState = ServerState.UNKNOWN
    partner_since: int = 0
    epoch: int = 0
    generation: int = 0
    operated: int = 0
    proven: int = 0
    offset: int | None = None
    offset_gap: float = 0.0
    host: str = ""
    low_gap: float = 0.0
    low_seen: float = 0.0
    high_gap: float = 0.0
    high_seen: float = 0.0
    far_s: int = 0
    far_seen: float = 0.0
    rested: int = 0
    lost_at: int = 0
    mclt_s: int = 0
    wait_mclt_s: int = 0
    forgot_s: int = 0
    partner_down_since: int = 0
    wait_all: bool = False
    doubt: int | None = None
    recover_until: int = 0
    new_pair: bool = False
    virgin_database: bool = True
    hba: str = ""
    partner_max_unacked: int = 0
    partner_uuid: str = ""
    partner_run: str = ""
    partner_generation: int = 0
    partner_epoch: int = 0
    agreed: int | None = None
    beyond: bool = False

    def to_json(self) -> str:
        """The journal record."""
        out = {f.name: getattr(self, f.name) for f in fields(self)}
        out["state"] = int(self.state)
        out["partner_state"] = int(self.partner_state)
        return json.dumps(out, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RelationshipRecord:
        """The record of a journal record; unknown keys are an error: a newer version wrote them."""
        raw: dict[str, Any] = json.loads(text)
        unknown = set(raw) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown relationship fields {sorted(unknown)}")
        raw["state"] = ServerState(raw["state"])
        raw["partner_state"] = ServerState(raw["partner_state"])
        return cls(**raw)

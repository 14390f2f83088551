"""How far this server's clock may be off: from the partner's, and from what it was while leases were noted that may still run.

safety.md 10. CLOCK_BOOTTIME is slewed with the wall clock and never set, so a change of the one less the other is a step. What this server
noted before a step ahead was meant to last so much longer than it reads now, what it noted before a set-back so much shorter, and what the
partner noted lies as far off as the two clocks were apart then, though they agree by now: an address freed by the clocks of now alone would
be freed early, and a client told what reads as left would be told too much. All are remembered for the longest lease time, and across
restarts of the process within one boot of the host; after a reboot nobody can tell by how much our clock was set.
"""

from __future__ import annotations

from failoverd.failover.handshake import SKEW_LIMIT_S
from failoverd.failover.record import BootFacts, RelationshipRecord
from failoverd.ports import Now

UNKNOWN_OFFSET_S = 60  # how far the clocks may differ while the offset is unknown (safety.md 10)
JITTER_S = 0.5  # two clocks are not read at one instant, and what is less does not count


class ClockMemory:
    """Keeps `offset`, `low_gap`, `high_gap` and `far_s` of a relationship's record, and when each was last seen; it is written with every
    stamp. A gap is our wall clock less CLOCK_BOOTTIME."""

    def __init__(self, record: RelationshipRecord, boot: BootFacts, now: Now) -> None:
        """From the record when it is of this boot of the host, anew otherwise."""
        self.record, self._longest_s, self._gap = record, boot.longest_lease_s, now.wall - now.mono
        self._mono = now.mono
        self._reference_gap = self._gap  # when it was last compared with the partner's, in this boot of the host; else at the start
        self.newest_offset = record.offset or 0  # as the newest message has it
        self._rebooted = not boot.host or record.host != boot.host  # and the clocks were not compared since
        if self._rebooted:
            record.host, record.low_gap, record.low_seen = boot.host, self._gap, now.mono
            record.high_gap, record.high_seen = self._gap, now.mono
            record.far_seen = now.mono
        elif record.offset is not None:
            self._reference_gap = record.offset_gap

    def read(self, now: Now) -> None:
        """The clocks, at the beginning of each step."""
        record, self._gap, self._mono = self.record, now.wall - now.mono, now.mono
        if self._gap <= record.low_gap + JITTER_S:
            record.low_gap, record.low_seen = min(record.low_gap, self._gap), now.mono
        elif now.mono - record.low_seen > self._longest_s:
            record.low_gap, record.low_seen = self._gap, now.mono
        if self._gap >= record.high_gap - JITTER_S:
            record.high_gap, record.high_seen = max(record.high_gap, self._gap), now.mono
        elif now.mono - record.high_seen > self._longest_s:
            record.high_gap, record.high_seen = self._gap, now.mono

    def measured(self, offset: int, now: Now) -> None:
        """How far the partner's clock is from ours. Until now it was as far as it was measured before: what it noted a moment ago it noted
        so (simulator, seeds ping11650 and host11860: told only at the measuring, it was forgotten while such a lease ran)."""
        record = self.record
        self._far(record.offset or 0, now)
        self._far(offset, now)
        if self._rebooted and record.offset is not None:
            self._far(offset - record.offset, now)  # by so much ours was set meanwhile, perhaps (simulator, seed clock1652)
        self._rebooted = False
        record.offset, record.offset_gap = offset, now.wall - now.mono
        self._reference_gap, self.newest_offset = record.offset_gap, offset

    def sampled(self, offset: int, now: Now) -> None:
        """One message's, which may have been delayed. Beyond what links are refused for it is no delay: a clock was set on a live link,
        and what is noted by it may be told."""
        self.newest_offset = offset
        if abs(offset) > SKEW_LIMIT_S:
            self._far(offset, now)

    def _far(self, offset: int, now: Now) -> None:
        far, record = abs(offset), self.record
        if far >= record.far_s or now.mono - record.far_seen > self._longest_s:
            record.far_s, record.far_seen = far, now.mono

    @property
    def slack_s(self) -> int:
        """How far a comparison across the clocks errs to the safe side, and one across a step of ours."""
        return max(self._apart_s, self.set_back_s, self.ahead_s)

    @property
    def _apart_s(self) -> int:
        """The offset as it was measured, or as it is now that our clock was set since, or as the newest message has it, or as it was when a
        lease was noted that may still run, whichever is most, however much. After a reboot nobody can tell."""
        offset = self.record.offset
        if offset is None:
            return UNKNOWN_OFFSET_S
        by_now = abs(offset - round(self._gap - self.record.offset_gap))
        if self._reference_gap != self.record.offset_gap:  # CLOCK_BOOTTIME began anew, so the difference may be anything
            by_now = min(by_now, max(UNKNOWN_OFFSET_S, abs(offset)))
        return max(abs(offset), by_now, abs(self.newest_offset), self.record.far_s)

    @property
    def contact_margin_s(self) -> int:
        """How far a contact may be off that was proven before now. For a step of ours since, `set_back_s` counts: how far the clocks are
        apart by it says nothing of that contact."""
        return min(self._apart_s, max(UNKNOWN_OFFSET_S, abs(self.record.offset or 0)))

    @property
    def set_back_s(self) -> int:
        """By how much our wall clock was set back since it was last compared with the partner's: every time that was noted before lies so
        much later in truth than it reads now. Of another boot of the host nobody can tell, but see the check of the boot."""
        return max(0, round(self._reference_gap - self._gap))

    @property
    def ahead_s(self) -> int:
        """How much later than it reads a time may lie that was noted before a step, for as long as a lease of before it may run. All of the
        step to the end: counted as no more than what remains of that time, it ended a lease early that lasts for less than the step
        (simulator, seed 80007)."""
        over = self._mono > self.record.low_seen + self._longest_s
        return 0 if over else max(0, round(self._gap - self.record.low_gap))

    @property
    def set_ahead_at(self) -> int:
        """What the wall clock showed when it had been set ahead: what bears an earlier time was noted before."""
        return int(self._gap + self.record.low_seen)

    @property
    def behind_s(self) -> int:
        """How much less than it reads may remain of what was noted before a set-back, for as long as a lease of before it may run."""
        over = self._mono > self.record.high_seen + self._longest_s
        return 0 if over else max(0, round(self.record.high_gap - self._gap))

    @property
    def set_back_at(self) -> int:
        """What the wall clock showed when it had been set back: what bears an earlier time was noted before."""
        return int(self._gap + self.record.high_seen)

"""The site, in its own time, and how it is compressed: one factor for everything that can be scaled."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE, HOUR = 60.0, 3600.0
DHCPD_TOLERANCE_S = 65  # dhcpd takes EXPIRED up to 65 s early; safety.md wants leases of twice that beside a dhcpd
LEAST_OUR_DELAY_S = 15  # failoverd's configuration takes no shorter max-response-delay


@dataclass(slots=True, frozen=True)
class Site:
    """A guest network. Times in seconds of the site. `present`: clients there at any time, who stay for `stay_s` on average and then
    leave, a `releasing` part of them with a RELEASE; of those who come a `returning` part has been there before. `patience_s`: a client
    that wanted a lease for so long and got none was refused; `annoyed_s`: somebody waits for it."""

    present: int = 120
    stay_s: float = HOUR
    least_stay_s: float = 10 * MINUTE
    releasing: float = 0.4
    returning: float = 0.25
    absence_s: float = 10 * MINUTE
    pool: int = 240
    lease_s: float = HOUR
    mclt_s: float = 10 * MINUTE
    silence_s: float = MINUTE  # on the link between the two, after which it counts as lost
    min_balance_s: float = MINUTE
    max_balance_s: float = HOUR
    filling_s: float = 10 * MINUTE
    death_s: float = 30 * MINUTE
    outage_s: float = HOUR
    after_s: float = 20 * MINUTE
    operator_s: float = 5 * MINUTE  # after the death
    automatic_s: float = 2 * MINUTE  # after the loss of contact
    patience_s: float = 5 * MINUTE
    annoyed_s: float = MINUTE

    @property
    def back_s(self) -> float:
        """When the dead one is switched on again."""
        return self.death_s + self.outage_s

    @property
    def end_s(self) -> float:
        """The end of the watch."""
        return self.back_s + self.after_s


@dataclass(slots=True, frozen=True)
class Clock:
    """Site time and wall time. `began`: the wall time of the site's zero."""

    factor: float
    began: float = 0.0

    def wall(self, site_s: float) -> float:
        """UTC seconds of a moment of the site."""
        return self.began + site_s / self.factor

    def site(self, wall: float) -> float:
        """The moment of the site at a wall time."""
        return (wall - self.began) * self.factor

    def whole(self, site_s: float) -> int:
        """A length as a server is told it: whole seconds, at least one."""
        return max(round(site_s / self.factor), 1)

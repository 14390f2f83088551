"""The search for the highest rate with less than 1 % unanswered, alternating between the contestants, and the table."""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.bench import perfdhcp
from tests.bench.pairs import POOL, Contestant, DhcpdPair, FailoverdPair
from tests.lab.lab import Lab
from tests.lab.wait import LabError

START = 400
GROW = 1.5
CLOSE = 1.1  # the search ends when the lowest failing rate is within this factor of the highest passing one
SECONDS = 3
LIMIT = 0.01
REALLY_SENT = 0.95
CONFIRM = 3
USABLE = 0.9  # the part of the pool that one trial may use: the hash does not split exactly in halves


@dataclass(slots=True, frozen=True)
class Trial:
    """One rate tried on fresh databases."""

    rate: int
    run: perfdhcp.Run
    leases_s: float
    cpu_s_per_1000: float
    rss_mb: float

    @property
    def passed(self) -> bool:
        """Less than 1 % unanswered, at the rate that was asked."""
        return self.run.unanswered < LIMIT and self.run.sent_rate >= REALLY_SENT * self.rate

    def words(self) -> str:
        """For the progress line."""
        why = "" if self.run.sent_rate >= REALLY_SENT * self.rate else f", only {self.run.sent_rate:.0f}/s sent"
        lost = f", {self.run.lost_here} lost by perfdhcp" if self.run.lost_here else ""
        return f"{self.rate}/s: {self.run.unanswered:.2%} unanswered{why}{lost}"


@dataclass(slots=True)
class Search:
    """Grow until a rate fails twice, then bisect. Then the best rate must hold in most of CONFIRM trials, or the next lower is tried."""

    pair: Contestant
    passing: float = 0.0
    failing: float = 0.0
    suspect: int = 0
    trials: list[Trial] = field(default_factory=list)
    confirming: list[Trial] = field(default_factory=list)
    done: bool = False

    def rate(self) -> int:
        """The rate to try next."""
        if self.suspect:
            return self.suspect
        if self.confirming:
            return self.confirming[0].rate
        if not self.failing:
            return round(self.passing * GROW) if self.passing else START
        return round((self.passing * self.failing) ** 0.5) if self.passing else round(self.failing / GROW)

    def take(self, trial: Trial) -> None:
        """Learn from a trial."""
        self.trials.append(trial)
        if self.confirming:
            self._confirm(trial)
            return
        if trial.passed:
            self.suspect = 0
            self.passing = trial.rate
        elif self.suspect:
            self.suspect = 0
            self.failing = trial.rate
        else:
            self.suspect = trial.rate
            return
        if self.passing and self.failing and self.failing / self.passing <= CLOSE:
            self.confirming = [next(trial for trial in reversed(self.trials) if trial.passed and trial.rate == self.passing)]

    def _confirm(self, trial: Trial) -> None:
        self.confirming.append(trial)
        failed = sum(not trial.passed for trial in self.confirming)
        if failed > CONFIRM // 2:
            self.failing = self.passing
            self.passing = self.passing / CLOSE
            lower = [old for old in self.trials if old.passed and old.rate <= self.passing]
            self.confirming = lower[-1:]
            self.passing = lower[-1].rate if lower else 0.0
        elif len(self.confirming) >= CONFIRM:
            self.done = True

    @property
    def best(self) -> list[Trial]:
        """The confirmed trials of the best rate that passed."""
        return [trial for trial in self.confirming if trial.passed]


def seconds_for(rate: int) -> int:
    """As long as the pool lasts, whole seconds, at most SECONDS."""
    return max(1, min(SECONDS, int(POOL * USABLE / rate)))


def attempt(pair: Contestant, rate: int, number: int) -> Trial:
    """One trial on fresh databases."""
    pair.fresh()
    try:
        before = pair.cpu_s()
        run = perfdhcp.run(pair.client, rate, seconds_for(rate), 0x100 + number)
        used = pair.cpu_s() - before
        if len(pair.processes()) != 2:
            raise LabError(f"a server of the {pair.name} pair died at {rate}/s")
        done = max(1, run.acks.received)
        return Trial(rate, run, min(run.sent_rate, rate) * (1 - run.unanswered), 1000 * used / done, pair.rss_mb())
    finally:
        pair.stop()


def table(searches: list[Search]) -> Table:
    """The result, medians of the confirmed trials."""
    out = Table(title=f"4-message exchanges, pool of {POOL}, less than {LIMIT:.0%} unanswered")
    for heading in ("pair", "DORA/s", "OFFER mean / p99 ms", "ACK mean / p99 ms", "CPU s per 1000", "RSS MB", "trials"):
        out.add_column(heading, justify="left" if heading == "pair" else "right")
    for search in searches:
        best = search.best

        def middle(values: list[float]) -> float:
            return statistics.median(values)

        out.add_row(
            search.pair.name,
            f"{leases_s(search):.0f}",
            f"{middle([t.run.offers.mean_ms for t in best]):.1f} / {middle([t.run.offers.p99_ms for t in best]):.1f}",
            f"{middle([t.run.acks.mean_ms for t in best]):.1f} / {middle([t.run.acks.p99_ms for t in best]):.1f}",
            f"{middle([t.cpu_s_per_1000 for t in best]):.2f}",
            f"{middle([t.rss_mb for t in best]):.0f}",
            str(len(search.trials)),
        )
    return out


def leases_s(search: Search) -> float:
    """Leases acknowledged per second at the best rate."""
    return statistics.median([trial.leases_s for trial in search.best])


def main() -> int:
    """Exit status of the bench."""
    console = Console()
    began = time.monotonic()
    try:
        with Lab() as lab:
            searches = [
                Search(FailoverdPair.build(lab, "failoverd", "f")),
                Search(DhcpdPair.build(lab, "dhcpd 4.4.3", "d")),
            ]
            number = 0
            while any(not search.done for search in searches):
                for search in searches:
                    if not search.done:
                        number += 1
                        trial = attempt(search.pair, search.rate(), number)
                        search.take(trial)
                        mark = "passed" if trial.passed else "failed"
                        console.print(
                            f"{time.monotonic() - began:5.0f} s  {search.pair.name:<12} {mark}  {trial.words()}", highlight=False
                        )
    except LabError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("[red]Interrupted; the lab is removed[/]")
        return 130
    console.print(table(searches))
    console.print(f"ratio to dhcpd pair: {leases_s(searches[0]) / leases_s(searches[1]):.2f}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

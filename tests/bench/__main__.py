"""The search for the highest rate with less than 1 % unanswered, alternating between the contestants, and the table."""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.bench import drain, perfdhcp
from tests.bench.machine import busy_s, children_s
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
DISTURBED = 0.1  # of all processors; a failed trial is then repeated, REPEATS times at most for each pair
REPEATS = 8
TIME_S = 330  # then the search is cut short
USABLE = 0.9  # the part of the pool that one trial may use: the hash does not split exactly in halves


@dataclass(slots=True, frozen=True)
class Trial:
    """One rate tried on fresh databases."""

    rate: int
    run: perfdhcp.Run
    leases_s: float
    cpu_s_per_1000: float
    rss_mb: float
    others: float = 0.0

    @property
    def disturbed(self) -> bool:
        """Whether other programs took so much of the machine that a failure says nothing of the pair."""
        return not self.passed and self.others > DISTURBED

    @property
    def passed(self) -> bool:
        """Less than 1 % unanswered, at the rate that was asked."""
        return self.run.unanswered < LIMIT and self.run.sent_rate >= REALLY_SENT * self.rate

    def words(self) -> str:
        """For the progress line."""
        why = "" if self.run.sent_rate >= REALLY_SENT * self.rate else f", only {self.run.sent_rate:.0f}/s sent"
        lost = f", {self.run.lost_here} lost by perfdhcp" if self.run.lost_here else ""
        busy = f", other programs used {self.others:.0%} of the machine" if self.others > DISTURBED else ""
        return f"{self.rate}/s: {self.run.unanswered:.2%} unanswered{why}{lost}{busy}"


@dataclass(slots=True)
class Search:
    """Grow until a rate fails twice, then bisect. The best rate must then hold in most of CONFIRM trials, else a lower one is tried."""

    pair: Contestant
    passing: float = 0.0
    failing: float = 0.0
    suspect: int = 0
    candidate: int = 0
    trials: list[Trial] = field(default_factory=list)
    best: list[Trial] = field(default_factory=list)
    repeats: int = 0

    @property
    def done(self) -> bool:
        """Whether `best` holds the trials that count."""
        return bool(self.best)

    def cut_short(self) -> None:
        """No time is left: the highest rate that passed, unconfirmed."""
        passed = [trial for trial in self.trials if trial.passed]
        highest = max((trial.rate for trial in passed), default=0)
        self.best = self.best or [trial for trial in passed if trial.rate == highest]

    def rate(self) -> int:
        """The rate to try next."""
        if self.suspect or self.candidate:
            return self.suspect or self.candidate
        if not self.failing:
            return round(self.passing * GROW) if self.passing else START
        return round((self.passing * self.failing) ** 0.5) if self.passing else round(self.failing / GROW)

    def take(self, trial: Trial) -> None:
        """Learn from a trial."""
        self.trials.append(trial)
        if self.candidate:
            self._confirm()
            return
        if trial.passed:
            self.suspect = 0
            self.passing = trial.rate
        elif self.suspect:
            self.suspect = 0
            self.failing = trial.rate
        else:
            self.suspect = trial.rate
        if not self.suspect and self.passing and self.failing and self.failing / self.passing <= CLOSE:
            self.candidate = round(self.passing)

    def _confirm(self) -> None:
        """Majority of the trials at the candidate, those of the search included."""
        most = CONFIRM // 2 + 1
        passed = [trial for trial in self.trials if trial.rate == self.candidate and trial.passed]
        failed = [trial for trial in self.trials if trial.rate == self.candidate and not trial.passed]
        if len(passed) >= most and len(passed) > len(failed):
            self.best = passed
        elif len(failed) >= most:
            self.candidate = max(1, round(self.candidate / CLOSE))


def seconds_for(rate: int) -> int:
    """As long as the pool lasts, whole seconds, at most SECONDS."""
    return max(1, min(SECONDS, int(POOL * USABLE / rate)))


def attempt(pair: Contestant, rate: int, number: int) -> Trial:
    """One trial on fresh databases."""
    pair.fresh()
    try:
        before, mine, (busy, all_s) = pair.cpu_s(), children_s(), busy_s()
        run = perfdhcp.run(pair.client, rate, seconds_for(rate), 0x100 + number)
        used, (busy_after, all_after) = pair.cpu_s() - before, busy_s()
        others = (busy_after - busy - used - (children_s() - mine)) / (all_after - all_s)
        if len(pair.processes()) != 2:
            raise LabError(f"a server of the {pair.name} pair died at {rate}/s")
        done = max(1, run.acks.received)
        return Trial(rate, run, min(run.sent_rate, rate) * (1 - run.unanswered), 1000 * used / done, pair.rss_mb(), others)
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
            f"{len(search.trials)} + {search.repeats}" if search.repeats else str(len(search.trials)),
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
            while any(not search.done for search in searches) and time.monotonic() - began < TIME_S:
                for search in searches:
                    if not search.done:
                        number += 1
                        trial = attempt(search.pair, search.rate(), number)
                        again = trial.disturbed and search.repeats < REPEATS
                        if again:
                            search.repeats += 1
                        else:
                            search.take(trial)
                        mark = "passed" if trial.passed else "again " if again else "failed"
                        console.print(
                            f"{time.monotonic() - began:5.0f} s  {search.pair.name:<12} {mark}  {trial.words()}", highlight=False
                        )
    except LabError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("[red]Interrupted; the lab is removed[/]")
        return 130
    for search in searches:
        if not search.done:
            search.cut_short()
            console.print(
                f"[yellow]{search.pair.name}: no rate confirmed within {TIME_S} s; the machine is too busy[/]", highlight=False
            )
        if not search.best:
            console.print(f"[red]{search.pair.name}: no rate passed[/]")
            return 1
    console.print(table(searches))
    status = drain.main(console)
    console.print(f"ratio to dhcpd pair: {leases_s(searches[0]) / leases_s(searches[1]):.2f}", highlight=False)
    return status


if __name__ == "__main__":
    sys.exit(main())

"""Find a smaller run that goes wrong in the same way: fewer faults, fewer clients, a shorter fault phase (delta debugging, Zeller 2002)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from failoverd.sim.plan import FIRST_FAULT_S, Less, draw
from failoverd.sim.run import run
from failoverd.sim.world import World

MOST_RUNS = 150
Fails = Callable[[Less], bool]


def fails_in(check: str) -> Callable[[str], Fails]:
    """Whether a run of this seed still has a violation of `check`; a program that falls has check "!"."""

    def of(seed: str) -> Fails:
        def still(less: Less) -> bool:
            try:
                return any(violation.check == check for violation in run(seed, less).violations)
            except Exception:  # a program that falls is what check "!" looks for; for any other check this run does not show it
                return check == "!"

        return still

    return of


def shrink(seed: str, fails: Fails, told: Callable[[str], None] = lambda line: None) -> Less:
    """The smallest run found; what has no effect is left out first. Nothing is left out when nothing can be."""
    left = Budget(fails, MOST_RUNS)
    plan = draw(World(seed))
    numbers = [blow.number for blow in plan.blows]
    less = fewest(numbers, Less(), left)
    told(f"{len(numbers) - len(less.without)} of {len(numbers)} faults")
    clients = 1
    while clients < plan.terms.clients:
        if left(less._replace(clients=clients)):
            less = less._replace(clients=clients)
            break
        clients *= 2
    told(f"{less.clients or plan.terms.clients} of {plan.terms.clients} clients")
    whole_s = plan.until_t - FIRST_FAULT_S
    low, high = 0.0, whole_s
    while high - low > max(5.0, whole_s / 20):
        middle = round((low + high) / 2, 1)
        if left(less._replace(until_s=middle)):
            less, high = less._replace(until_s=middle), middle
        else:
            low = middle
    if less.until_s:  # faults behind the end need not be named
        behind = {blow.number for blow in plan.blows if blow.t >= FIRST_FAULT_S + less.until_s}
        less = less._replace(without=less.without - behind)
    told(f"{high:.0f} of {whole_s:.0f} s of faults")
    return less


class Budget:
    """Runs that may still be made."""

    def __init__(self, fails: Fails, runs: int) -> None:
        """All of them."""
        self._fails, self._left = fails, runs

    def __call__(self, less: Less) -> bool:
        """Whether this one fails; when the runs are used up, nothing more does."""
        self._left -= 1
        return self._left >= 0 and self._fails(less)


def fewest(numbers: Sequence[int], less: Less, fails: Fails) -> Less:
    """Leave out as many faults as can be: halves first, then smaller parts."""
    kept, parts = list(numbers), 2
    while kept:
        size = ceil(len(kept) / parts)
        chunks = [kept[at : at + size] for at in range(0, len(kept), size)]
        for chunk in chunks:
            fewer = less._replace(without=less.without | set(chunk))
            if fails(fewer):
                less, kept = fewer, [number for number in kept if number not in chunk]
                parts = max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(kept))
    return less

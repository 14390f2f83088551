"""What is measured side by side with a pair of dhcpd, in an operator's words. Each row takes the worst of what failoverd showed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.interop.pairs.case import Cast, Result, job
from tests.interop.pairs.cases_stalled import PATIENCE_S
from tests.interop.pairs.run import Played
from tests.interop.pairs.server import Product

NOTHING = "-"  # the cases of a row were not played
OURS, DHCPD = Product.OURS, Product.DHCPD


@dataclass(slots=True, frozen=True)
class Beside:
    """One figure of failoverd beside dhcpd's."""

    what: str
    ours: str
    theirs: str


def seconds(value: float | None) -> str:
    """A time of the table."""
    if value is None:
        return NOTHING
    return f"{value * 1000:.0f} ms" if value < 0.095 else f"{value:.1f} s"


def measured(played: Played, name: str, alone: bool | None = None) -> list[float]:
    """Every value of a measurement; `alone`: of a pair of dhcpd only, or of all others only."""
    return [
        result.measured[name]
        for result in played.results
        if name in result.measured and (alone is None or (job(result.key).cast is Cast.DHCPD_ALONE) is alone)
    ]


def worst(values: Sequence[float], words: Callable[[float], str] = seconds) -> str:
    """The largest."""
    return words(max(values)) if values else NOTHING


def limited(value: float) -> str:
    """A time for which nobody waited longer."""
    return f"not in {PATIENCE_S:.0f} s" if value >= PATIENCE_S else seconds(value)


def share(played: Played, part: str, whole: str, alone: bool) -> tuple[int, int] | None:
    """How many of how many: of the job with the smallest share."""
    pairs = [
        (int(result.measured[part]), int(result.measured[whole]))
        for result in played.results
        if part in result.measured and whole in result.measured and (job(result.key).cast is Cast.DHCPD_ALONE) is alone
    ]
    return min(pairs, key=lambda pair: pair[0] / max(pair[1], 1), default=None)


def words_of(found: tuple[int, int] | None) -> str:
    """ "19 of 20"."""
    return f"{found[0]} of {found[1]}" if found else NOTHING


TIMES = (
    ("normal after the partner's port, closed till then, opens", "normal after the partner's port opens, {} dials", seconds),
    ("a single BNDUPD waits for its BNDACK (median)", "BNDACK of {}", seconds),
    ("silent after a restart in partner-down", "mute after a restart of {} in partner-down", seconds),
    ("partner forgets its part of a conflict's resolution: begun anew after", "begins resolution anew, {}", limited),
    ("partner forgets its part of a recovery: begun anew after", "begins recovery anew, {}", limited),
    ("refused for lack of own addresses: served from the partner's after", "refused for lack of own addresses by {}", seconds),
    ("its server hangs, the client leaves secs at 0: served after", "clients with secs 0 of a hung server, {} lives", seconds),
)
MISHAPS = (
    ("lone-boot", "given twice when it boots alone after it was declared down"),
    ("hang", "given twice when it wakes after it was declared down"),
    ("rollback", "given twice or lost after its database was rolled back"),
)


def side_by_side(played: Played) -> Iterator[Beside]:
    """The figures in which failoverd means to be better than dhcpd."""
    cut = "normal after a cut of 80 s"
    yield Beside("normal after a cut of 80 s is mended", worst(measured(played, cut, False)), worst(measured(played, cut, True)))
    for what, name, words in TIMES:
        yield Beside(what, *(worst(measured(played, name.format(product)), words) for product in (OURS, DHCPD)))
    part, whole = "renewed while they settle a conflict", "wanted it while they settle a conflict"
    renewed = (share(played, part, whole, False), share(played, part, whole, True))
    yield Beside("clients renewed while the two settle a conflict", *map(words_of, renewed))
    yield losers(played)
    yield stops(played)
    yield relays(played)
    yield host_lost(played)
    for name, what in MISHAPS:
        harmed = (
            [float(len({*r.twice, *r.lost})) for r in played.results if r.key.startswith(f"{name}/") and same(r, product)]
            for product in (OURS, DHCPD)
        )
        yield Beside(what, *(worst(each, lambda count: f"{count:.0f}") for each in harmed))


def losers(played: Played) -> Beside:
    """Of the addresses that were given twice behind a cut."""
    whole = "given twice behind the cut"
    ours, theirs = share(played, f"told of by {OURS}", whole, False), share(played, f"told of by {DHCPD}", whole, True)
    listed = f"{words_of(ours)}, with both clients" if ours else NOTHING
    logged = f"0 of {theirs[1]}; a line in the log for {theirs[0]}" if theirs else NOTHING
    return Beside("losers of a conflict that a command lists", listed, logged)


def stops(played: Played) -> Beside:
    """What the partner hears of a planned stop."""

    def of(product: Product) -> str:
        told = measured(played, f"told of a planned stop by {product}")
        if not told:
            return NOTHING
        heard = "DISCONNECT, with the reason" if all(told) else "end of file, as of a crash"
        return f"{heard}; knows after {worst(measured(played, f'alone after a planned stop of {product}'))}"

    return Beside("what the partner hears of a planned stop", of(OURS), of(DHCPD))


def relays(played: Played) -> Beside:
    """Of the clients that load balancing gives to the server that they cannot reach, and that leave secs at 0."""

    def of(product: Product, alone: bool) -> str:
        part, whole = f"served behind a relay that knows {product} only", "clients behind a relay that knows one server only"
        found = share(played, part, whole, alone)
        told = measured(played, f"told of the relay by {product}")
        return f"{words_of(found)}; {'status names the relay' if all(told) else 'nobody is told'}" if found else NOTHING

    return Beside("the partner's clients behind a relay that knows this server only: served", of(OURS, False), of(DHCPD, True))


def host_lost(played: Played) -> Beside:
    """Of what was acknowledged in the last 2 s of a host; its link has died in between."""

    def of(mode: str) -> str:
        lost, whole = f"lost of these, {mode}", f"acknowledged as its host is lost, {mode}"
        rows = [(int(r.measured[lost]), int(r.measured[whole])) for r in played.results if lost in r.measured]
        return words_of(max(rows)) if rows else NOTHING

    ours = f"{of('zero-loss')} with zero-loss, {of('without zero-loss')} without"
    return Beside(
        "acknowledged in the 2 s before a host is lost, its link first, its disk too: lost",
        NOTHING if ours.startswith(NOTHING) else ours,
        of("by dhcpd"),
    )


def same(result: Result, product: Product) -> bool:
    """Whether the mishap of a case met a server of this kind and the case ended; a case that did not end counts nothing."""
    found = job(result.key)
    return found.side is not None and found.cast.product(found.side) is product and result.normal_s is not None

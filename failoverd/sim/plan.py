"""The plan of a run, drawn from its seed before anything happens: the numbers of the pair, and which fault strikes when.

Each fault has random numbers of its own, so one that is left out (shrink.py) leaves the others as they were. Most runs are short and
small: their times (MCLT, leases, how long a fault lasts) are scaled so that recover-wait, the waits of partner-down and expiry end
within the fault phase. Some have up to 200 clients; some are long, with the times of a real network's minutes, because two faults that
are ten minutes apart make other histories than two that are one minute apart.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import NamedTuple

from failoverd.sim import dhcpd_pair
from failoverd.sim.dhcpd_pair import with_dhcpd
from failoverd.sim.pair import Terms
from failoverd.sim.world import World

FIRST_FAULT_S = 40.0  # by then a new pair is in normal
SHORT_S, LONG_S = (60.0, 600.0), (600.0, 2400.0)  # lengths of the fault phase
SORTS = {"short": 79, "wide": 9, "crowd": 2, "long": 10}  # of 100 runs
STORY = "story"  # the sort of a run that tells one (strikes_story.py)
STORY_SHARE = 0.5  # of the runs are; each of these is told as often as the others
STORIES = (
    *("asleep", "alone", "unheard", "apart", "declined", "halfway", "brief"),
    *("relay", "nobody", "copied", "slowly", "crossing", "empty"),
)
# Told by seeds of the name alone (strikes_named.py).
NAMED = ("refused", "resting", "corrected", "between", "piecemeal", "returning", "silent", "unagreed")
# A survivor that stands still, is declared dead and started again within 60 s goes on (safety.md 12): no judge knows that it was not dead.
WITHOUT = {"returning": ("pause",), "silent": ("pause",)}
STORY_T = 50.0  # by then a new pair has said all that it has to say
STORY_LEASES = {  # how many MCLTs a lease lasts
    "nobody": (6, 8),
    "copied": (4, 6),
    "unheard": (3, 4),
    "apart": (5, 6),
    "declined": (4, 5),
    "empty": (3, 5),
    "refused": (3, 4),
    "resting": (3, 4),
    "corrected": (3, 4),
    "piecemeal": (4, 5),
    "returning": (3, 4),
    "unagreed": (2, 2),
}
KINDS = {
    "cut": 4,
    "one way": 2,
    "reset": 1,
    "slow link": 2,
    "split": 2,
    "bad datagrams": 2,
    "master down": 1,
    "master refuses": 1,
    "master restarts": 1,
    "kill": 4,
    "kill at": 4,
    "both": 1,
    "behind cut": 3,
    "pause": 2,
    "slow disk": 2,
    "bad disk": 1,
    "full disk": 1,
    "other disk": 2,
    "backup": 1,
    "set clock": 2,
    "maintenance": 1,
    "stop": 1,
    "recover": 1,
    "rebalance": 1,
    "force": 1,
}
LATER_KINDS = {"both disks": 3}  # drawn apart, so that most seeds are what they were before these came
UNRESERVE_SHARE = 0.6  # of the runs with a reservation lose it
CLOCK_SHARE = 0.2  # of the faults of a run about clocks are a far one
PING_SHARE = 0.25  # of the runs have the ping check on
HAVE = 0.6  # each kind is in so many of the runs
HAVE_LATER = 0.2  # each of the later ones


class Blow(NamedTuple):
    """A fault of `kind` strikes at `t`."""

    number: int
    t: float
    kind: str


class Less(NamedTuple):
    """What a shrunk run leaves out: blows by number, clients beyond so many, everything after `until_s` of the fault phase."""

    without: frozenset[int] = frozenset()
    clients: int = 0  # 0: all
    until_s: float = 0.0  # 0: to the end

    def arguments(self) -> str:
        """As they are typed behind `python -m failoverd.sim --seed S`."""
        out = f" --without {','.join(map(str, sorted(self.without)))}" if self.without else ""
        out += f" --clients {self.clients}" if self.clients else ""
        return out + (f" --until {self.until_s:g}" if self.until_s else "")


WHOLE = Less()


class Plan(NamedTuple):
    """One run. `wrong`: operators declare and state what is not so; `until_t`: all faults end."""

    seed: str
    terms: Terms
    until_t: float
    wrong: bool
    blows: tuple[Blow, ...]

    def less(self, less: Less) -> Plan:
        """The same with less in it."""
        until_t = min(self.until_t, FIRST_FAULT_S + less.until_s) if less.until_s else self.until_t
        blows = tuple(blow for blow in self.blows if blow.number not in less.without and blow.t < until_t)
        return self._replace(until_t=until_t, blows=blows)


def draw(world: World) -> Plan:
    """The plan of a seed. Seeds that begin with "tls" are those of authenticated links, with "ping" of the ping check, with "dhcpd" of
    a dhcpd as partner, with "host" of a host with a reservation, with "clock" of a clock beyond 60 s; "short7", "wide7", "crowd7",
    "long7" are of that sort."""
    seed = world.seed
    rng = world.random("terms")
    sort = rng.choices(list(SORTS), list(SORTS.values()))[0]
    sort = next((each for each in SORTS if each in seed), sort)
    story = _story(world)
    if story:
        return _told(world, story)
    terms = _terms(rng, sort, tls="tls" in seed)
    terms = replace(terms, ping="ping" in seed or world.random("ping").random() < PING_SHARE)
    if seed.startswith("dhcpd"):
        terms = with_dhcpd(terms, world.random("dhcpd").choice(("primary", "secondary")))
    if "host" in seed:
        terms = _reserving(world.random("host"), terms)
    rng = world.random("plan")
    least, most = LONG_S if sort == "long" else SHORT_S
    until_t = FIRST_FAULT_S + least * (most / least) ** rng.random()
    mean_s = rng.uniform(40, 200) * terms.pace
    kinds = _kinds(world, rng)
    kinds = [kind for kind in kinds if not terms.dhcpd or kind in dhcpd_pair.KINDS] or ["cut"]
    blows: list[Blow] = []
    t = FIRST_FAULT_S
    while (t := t + rng.expovariate(1 / mean_s)) < until_t:
        blows.append(Blow(len(blows), t, rng.choice(kinds)))
    wrong = rng.random() < 0.1
    if terms.reserved and (rng := world.random("unreserve")).random() < UNRESERVE_SHARE:
        blows.append(Blow(len(blows), rng.uniform(FIRST_FAULT_S, until_t), "unreserve"))
    return Plan(seed, terms, until_t, wrong, tuple(blows))


def _reserving(rng: Random, terms: Terms) -> Terms:
    """On a plain link nobody hears of reservations, so both servers have it. Few addresses, so that others want it, too."""
    terms = replace(terms, pool=rng.choice((3, 4, 5)), clients=max(terms.clients, 8))
    tls = terms.tls or rng.random() < 0.5
    return replace(terms, tls=tls, reserved=rng.choice(("a", "b", "ab")) if tls else "ab")


def _kinds(world: World, rng: Random) -> list[str]:
    """The faults of a run, each as often as it weighs."""
    kinds = [kind for kind, weight in KINDS.items() for _ in range(weight if rng.random() < HAVE else 0)]
    rng = world.random("later kinds")
    kinds += [kind for kind, weight in LATER_KINDS.items() for _ in range(weight if rng.random() < HAVE_LATER else 0)]
    return kinds + ["far clock"] * (max(1, round(CLOCK_SHARE * len(kinds))) if "clock" in world.seed else 0)


def _story(world: World) -> str:
    """The story of a seed, "" for none: one that is named in it; of others a share has one."""
    rng = world.random("story")
    named = next((each for each in (*STORIES, *NAMED) if each in world.seed), "")
    other = world.seed.startswith("dhcpd") or any(each in world.seed for each in (*SORTS, "ping", "host", "clock"))
    if named or other or rng.random() >= STORY_SHARE:
        return named
    drawn, late = rng.choice(STORIES[:-1]), world.random("later story").random() < 1 / len(STORIES)
    return STORIES[-1] if late else drawn  # apart, as LATER_KINDS are


def _told(world: World, story: str) -> Plan:
    """A run with a story: short times, few addresses, many clients, and some random faults on top."""
    rng = world.random("story terms")
    mclt_s = rng.choice((20, 20, 30))
    times = STORY_LEASES.get(story, (2, 3))
    most = 0.4 if rng.random() < 0.8 else 15.0
    terms = Terms(
        mclt_s=mclt_s,
        lease_s=mclt_s * rng.choice(times),
        delay_s=15,
        window=1 if story in ("slowly", "piecemeal", "returning", "silent", "unagreed") else rng.choice((1, 3, 10, 100)),
        pool=rng.choice((3, 3, 4) if story == "apart" else (3, 4, 5)),
        clients=rng.choice((12, 14)),
        skew_s=(rng.uniform(-most, most), rng.uniform(-most, most)),
        tls="tls" in world.seed or rng.random() < (0.6 if story == "apart" else 0.3),
        both_ways=rng.random() < 0.1,
        sort=STORY,
        pace=mclt_s / 120,
        abandon_s=40,
        story=story,
    )
    until_t = STORY_T + 6.0 * mclt_s + 1.5 * terms.lease_s
    blows = [Blow(0, STORY_T + rng.random(), story)]
    kinds = [kind for kind in _kinds(world, rng) if kind not in WITHOUT.get(story, ())] or ["cut"]
    mean_s, t = rng.choice((40.0, 150.0, 400.0)), STORY_T
    while (t := t + rng.expovariate(1 / mean_s)) < until_t:
        blows.append(Blow(len(blows), t, rng.choice(kinds)))
    wrong = story == "empty" and world.random("wrong").random() < 0.2  # pair init, too early
    return Plan(world.seed, terms, until_t, wrong, tuple(blows))


def _terms(rng: Random, sort: str, *, tls: bool) -> Terms:
    long = sort == "long"
    most = 25.0 if rng.random() < 0.5 else 0.4  # of a wall clock from the truth
    mclt_s = rng.choice((60, 120, 240) if long else (20, 30, 60))
    few = rng.choice((4, 8, 12) if long else (2, 4, 6, 8, 12))
    clients = {"wide": round(16 * 4 ** rng.random()), "crowd": round(80 * 2.5 ** rng.random())}.get(sort, few)
    return Terms(
        mclt_s=mclt_s,
        lease_s=rng.choice((180, 300, 600) if long else (40, 80, 150)) * (3 if sort == "crowd" else 1),
        delay_s=rng.choice((15, 20, 30)) if long else 15,
        window=rng.choice((1, 3, 10, 100)),
        pool=min(max(rng.choice((6, 8, 16)), round(clients * rng.choice((0.5, 0.7, 1.1)))), 240),
        clients=clients,
        skew_s=(rng.uniform(-most, most), rng.uniform(-most, most)),
        tls=tls,
        both_ways=rng.random() < 0.15,
        zero_loss_s=rng.choice((1, 3)) if rng.random() < 0.1 else 0,
        lone_boot="serve" if rng.random() < 0.05 else "bounded",
        auto_s=round(mclt_s * rng.uniform(0.5, 2)) if rng.random() < 0.05 else 0,
        sort=sort,
        pace=1.0 if long else mclt_s / 120,
    )

"""One pair lives through the hour."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.interop.pairs.people import FIRST_MAC, Client, Habits, People
from tests.lab.lab import Lab
from tests.lab.terms import Role
from tests.lab.wait import LabError, until
from tests.outage import pairs
from tests.outage.judge import Figures, judge
from tests.outage.pairs import Product, Scene
from tests.outage.schedule import Visit, visits
from tests.outage.terms import Clock, Site

BEAT_S = 0.04
LOOK_S = 0.2  # between two questions to a server for its state
SITE_PAUSES_S = (4.0, 8.0, 16.0, 32.0, 64.0)  # RFC 2131 4.1, between repeated messages
SITE_RENEW_PAUSE_S = 60.0  # RFC 2131 4.4.5


def mac_of(client: int) -> bytes:
    """Its hardware address."""
    return (FIRST_MAC + client + 1).to_bytes(6, "big")


class Hour:
    """A pair, its clients, and what happens when."""

    def __init__(self, lab: Lab, product: Product, scene: Scene, site: Site, factor: float, seed: int) -> None:
        self.product, self.scene, self.site = product, scene, site
        self.clock = Clock(factor)
        self.visits = visits(seed, site)
        self.members = pairs.members(lab, product, scene, site, self.clock)
        self.dead, self.alive = self.members[Role.PRIMARY], self.members[Role.SECONDARY]
        habits = Habits(tuple(pause / factor for pause in SITE_PAUSES_S), SITE_RENEW_PAUSE_S / factor, factor)
        self.people = People(pairs.people_host(lab), pairs.RELAY, tuple(pairs.ADDRESSES.values()), habits)
        self.clients: dict[int, Client] = {}
        self.states: list[tuple[float, str]] = []
        self.declared_s: float | None = None
        self.normal_s: float | None = None
        self.notes: list[str] = []
        self._looked = 0.0

    def play(self) -> Figures:
        """From the first client to the end of the watch."""
        for member in self.members.values():
            member.start()
        until(f"the {self.product} pair serves", self.serves, 60, 0.2)
        self.clock = Clock(self.clock.factor, time.time() + 1)
        for at, act in self.agenda():
            while (left := at - time.time()) > 0:
                self.look()
                time.sleep(min(left, BEAT_S))  # until the moment of the next act, looking at the servers meanwhile
            act()
        end = time.time()
        figures = judge(self.people.told(), self.stays(), self.site, self.clock, self.dead.address, end)
        figures.normal_s, figures.declared_s = self.normal_s, self.declared_s
        figures.states, figures.notes = (
            self.states,
            [*self.notes, *(f"{m.host.name} ended" for m in self.members.values() if m.died())],
        )
        return figures

    def stays(self) -> dict[str, list[Visit]]:
        """Hardware address -> when it was there."""
        found: dict[str, list[Visit]] = {}
        for visit in self.visits:
            found.setdefault(mac_of(visit.client).hex(":"), []).append(visit)
        return found

    def agenda(self) -> list[tuple[float, Callable[[], None]]]:
        """Wall time -> what happens then."""
        site = self.site
        acts: list[tuple[float, Callable[[], None]]] = []
        for visit in self.visits:
            acts.append((visit.comes_s, partial(self.come, visit)))
            acts.append((visit.goes_s, partial(self.go, visit)))
        acts.append((site.death_s, self.die))
        if self.scene is Scene.OPERATOR:
            acts.append((site.death_s + site.operator_s, self.declare))
        acts.append((site.back_s, self.come_back))
        acts = [each for each in acts if each[0] < site.end_s] + [(site.end_s, self.look)]
        return sorted(((self.clock.wall(at), act) for at, act in acts), key=lambda each: each[0])

    # --- what happens ---

    def come(self, visit: Visit) -> None:
        """A client that has been there before asks for what it had; one whose lease still stands does it by broadcast."""
        known = self.clients.get(visit.client)
        if known is None:
            self.clients[visit.client] = self.people.arrive(1, macs=[mac_of(visit.client)])[0]
        else:
            self.people.again([known])
            self.people.renew([known], rebind=True)

    def go(self, visit: Visit) -> None:
        """With a RELEASE, or without a word."""
        client = self.clients[visit.client]
        (self.people.release if visit.releases else self.people.vanish)([client])

    def die(self) -> None:
        """The host goes off: nothing leaves it any more, not even the kernel's farewell."""
        self.dead.cut()
        self.dead.kill()

    def declare(self) -> None:
        """The operator, whom nobody waits for: a Kea asks its dead partner first."""

        def type_it() -> None:
            try:
                self.alive.partner_down()
            except LabError as error:
                self.notes.append(f"partner-down: {error}")

        threading.Thread(target=type_it, daemon=True).start()

    def come_back(self) -> None:
        """The host is on again, and its server starts with the database that it had; the clients go on meanwhile."""
        self.dead.heal()

        def start() -> None:
            try:
                self.dead.start()
            except LabError as error:
                self.notes.append(f"start: {error}")

        threading.Thread(target=start, daemon=True).start()

    # --- what is seen ---

    def serves(self) -> bool:
        """Whether both say so."""
        return all(member.state() == member.serving for member in self.members.values())

    def look(self) -> None:
        """The states, a few times a second: from the death to the return of the survivor, then of both."""
        now = time.time()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        since_death = self.clock.site(now) - self.site.death_s
        if since_death < 0:
            return
        with contextlib.suppress(LabError):
            state = self._state()
            if not self.states or self.states[-1][1] != state:
                self.states.append((since_death, state))
            if self.declared_s is None and self.alive_state == "partner-down":
                self.declared_s = since_death
        since_back = self.clock.site(now) - self.site.back_s
        if since_back > 0 and self.normal_s is None:
            with contextlib.suppress(LabError):
                self.normal_s = since_back if self.serves() else None

    def _state(self) -> str:
        self.alive_state = self.alive.state()
        try:
            return f"{self.alive_state} / {self.dead.state()}"
        except LabError:
            return f"{self.alive_state} / -"


def play(product: Product, scene: Scene, site: Site, factor: float, seed: int, keep: Path | None) -> Figures:
    """In a lab of its own, which is gone afterwards; `keep`: where logs and the record go."""
    with Lab() as lab:
        hour = Hour(lab, product, scene, site, factor, seed)
        try:
            return hour.play()
        finally:
            hour.people.close()
            if keep is not None:
                put_away(lab, hour, keep / f"{product}-{scene}")


def put_away(lab: Lab, hour: Hour, folder: Path) -> None:
    """Logs, configurations, and the record in site seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for host in lab.hosts.values():
        for path in (
            *host.folder.glob("*.log"),
            *host.folder.glob("*.conf"),
            *host.folder.glob("*.leases"),
            *host.folder.glob("*.csv"),
        ):
            (folder / f"{host.name}-{path.name}").write_bytes(path.read_bytes())
    lines = (f"{hour.clock.site(told.at):9.1f} {told}\n" for told in hour.people.told())
    (folder / "told").write_text("".join(lines))

"""Stories: each sets the stage for one kind of harm, with few addresses, and clients that want them at the worst moment.

A random fault rarely meets the clients that would suffer from it: that takes a server which is declared down, falls and comes back alone,
while one crowd holds the addresses of before and another one asks for them. A story draws who, when and how long; the random faults of
its run strike as they do elsewhere. The first half of the cast are those who come first, the others want addresses later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from failoverd.leases.lease import BindingState
from failoverd.sim.clients import Client
from failoverd.sim.server import Server
from failoverd.sim.strike import RESTART_GRACE_S
from failoverd.sim.strikes_typed import TypedStrike

AGAIN_S = 4.0  # who has no address asks anew this often, where a patient client would wait up to 30 s
SOON_S = 1.5  # a crowd comes within this time
MOST_APART_S = 50.0  # the clocks stay within the 60 s of safety.md 10

Step = tuple[float, Callable[[], object]]


class Story(TypedStrike):
    """One story; `one` server and its partner, and three crowds."""

    def __init__(self, *args: Any) -> None:
        """The parts are given."""
        super().__init__(*args)
        self.mclt_s, self.lease_s = float(self.pair.terms.mclt_s), float(self.pair.terms.lease_s)
        self.a = self.one()
        self.b = self.field.other(self.a)
        cast = self.pair.cast
        third = max(len(cast) // 3, 1)
        self.first, self.second, self.third = cast[:third], cast[third : 2 * third], cast[2 * third :]
        self._turn = 0

    def play(self, name: str, *steps: Step) -> None:
        """One step after the other; of each the seconds after the one before. Then all is as it should be."""
        self.note(f"story: {name}", self.a.name)
        t = 0.0
        for wait_s, act in (*steps, (self.mclt_s, self.over)):
            t += wait_s + self.rng.random() * 0.5
            self.world.after(t, partial(self._act, act))

    def _act(self, act: Callable[[], object]) -> None:
        if not self.field.over:
            act()

    def over(self) -> None:
        """The networks are whole, the servers run, and all clients reach both."""
        self._turn += 1
        self.pair.tcp.delay_s = 0.002
        self.heal()
        for server in self.pair.servers:
            server.boot()
        for client in self.pair.cast:
            client.reach = {server.name for server in self.pair.servers}
        self.come(self.pair.cast, *self.pair.servers, renew=False)

    # --- clients ------------------------------------------------------------------------------------------------------

    def come(self, clients: Sequence[Client], *servers: Server, renew: bool = True) -> None:
        """These reach these servers only. Who has no address asks for one; who has one asks for the same again."""
        for client in clients:
            client.reach = {server.name for server in servers}
            if renew or client.state in ("off", "selecting"):
                self.world.after(self.rng.random() * SOON_S, partial(self._act, client.start))

    def go(self, *crowds: Sequence[Client]) -> None:
        """Silent, and still in the belief that they hold what they hold."""
        for client in [each for crowd in crowds for each in crowd]:
            client.stop()

    def leave(self, clients: Sequence[Client]) -> None:
        """They give back what they hold."""
        for client in clients:
            client.release()

    def press(self, clients: Sequence[Client], *servers: Server) -> None:
        """They come, and ask again and again until they have an address."""
        self._turn += 1
        self._press(self._turn, clients, servers)

    def _press(self, turn: int, clients: Sequence[Client], servers: Sequence[Server]) -> None:
        if turn == self._turn:
            self.come(clients, *servers, renew=False)
            self.world.after(AGAIN_S, partial(self._act, partial(self._press, turn, clients, servers)))

    # --- servers ------------------------------------------------------------------------------------------------------

    def part(self) -> None:
        """A cut that both notice at once."""
        self.note("cut")
        self.pair.tcp.cut = True
        self.pair.tcp.reset()

    def falls(self, server: Server) -> None:
        """Without power, or killed."""
        self.fall(server)

    def breaks(self, server: Server) -> None:
        """It falls, and starts again only when it is no short restart any more (safety.md 12)."""
        self.fall(server)
        server.broken_until_t = self.world.t + RESTART_GRACE_S + 1.0

    def told(self, server: Server) -> None:
        """It hears that its partner is dead, if that is so."""
        self.pair.tcp.reset()
        self.world.after(0.3, partial(self._act, partial(self.declare, server)))

    def far(self, delay_s: float = 0.0) -> None:
        """A slow link."""
        self.pair.tcp.delay_s = delay_s or self.rng.choice((1.0, 2.0, 4.0))
        self.note(f"slow link, {self.pair.tcp.delay_s} s")

    def lost(self, server: Server) -> None:
        """Its database is gone; not when the other's is not whole."""
        if self.whole(self.field.other(server)):
            self.note("disk lost", server.name)
            server.change_disk("disk lost", server.disk.lose)

    # --- the stories --------------------------------------------------------------------------------------------------

    def asleep(self) -> None:
        """safety.md 5: a stands still for longer than MCLT; b is told so, uses a's half, and a wakes where it cannot hear that."""
        a, b, m = self.a, self.b, self.mclt_s
        early = self.rng.random() < 0.5
        length_s = 2.5 * m + 20.0
        self.come(self.first, a)
        self.play(
            "asleep",
            (8.0, lambda: self.part() if early else None),
            (0.1, lambda: a.pause(length_s)),
            (1.0 if early else self.rng.uniform(3.0, 12.0), self.part),
            (1.0, lambda: self.told(b)),
            (0.5 * m, lambda: self.press(self.second, b)),
            (2.0 * m + 20.0, lambda: self.come(self.third, a)),
            (8.0, lambda: self.come([*self.first, *self.third], a, renew=False)),
        )

    def alone(self) -> None:
        """safety.md 11: a falls, b is told so, and a boots where it cannot hear that; at once, with clients that renew, or late, when b
        has used its half."""
        a, b, m = self.a, self.b, self.mclt_s
        late = self.rng.random() < 0.4
        self.come(self.first, a)
        self.play(
            "alone",
            (4.0, self.part),
            (0.5, lambda: self.falls(a)),
            (0.5, lambda: self.told(b)),
            (2.5 * m if late else 1.0, a.boot),
            (0.0, lambda: self.keep(a, b, late)),
            (1.5 * m if late else self.lease_s + 3.0 * m, lambda: None),
        )
        if late:
            self.world.after(4.0 + 0.5 * m, partial(self._act, lambda: self.press(self.second, b)))

    def keep(self, a: Server, b: Server, late: bool) -> None:
        """A's clients go on asking it, while others wait at b for what they have."""
        self.press(self.second, b)
        self._renewing(self._turn, [*self.first, *(self.third if late else ())], a)

    def _renewing(self, turn: int, clients: Sequence[Client], server: Server) -> None:
        if turn == self._turn:
            self.come(clients, server)
            self.world.after(
                self.mclt_s * self.rng.uniform(0.3, 0.6), partial(self._act, partial(self._renewing, turn, clients, server))
            )

    def unheard(self) -> None:
        """safety.md 10, 12, 15: behind a cut a renews for as long as it may, and falls; or loses its disk. Its clients are silent from
        then on, and others wait for every address. Sometimes a clock is set meanwhile."""
        a, b, m, lease_s = self.a, self.b, self.mclt_s, self.lease_s
        fate = self.rng.choice(("dead", "clock", "clock", "lost", "lost"))
        self.come(self.first, a)
        self.play(
            f"unheard, {fate}",
            (4.0, lambda: self.come(self.first, a)),
            (2.0, lambda: self.part()),
            (0.1, lambda: self.come(self.first, renew=False)),
            (lease_s * self.rng.uniform(0.8, 0.95), lambda: self.come(self.first, a)),
            (SOON_S + 1.0, lambda: self.go(self.first)),
            (0.1, lambda: self.lost(a) if fate == "lost" else self.falls(a)),
            (0.5, lambda: self.heal() if fate == "lost" else self.told(b)),
            (0.5, lambda: a.boot() if fate == "lost" else None),
            (m * 0.5, lambda: self.forward(b) if fate == "clock" else None),
            (0.1, lambda: self.press([*self.second, *self.third], b)),
            (lease_s + 2.5 * m, lambda: None),
        )

    def forward(self, server: Server) -> None:
        """Its wall clock is set forward, in steps that are no lone boot (safety.md 5): whatever it counts by it passes too early."""
        self.note("clock set", server.name)
        for n in range(2):
            self.world.after(2.0 * n, partial(self._act, partial(self._step, server, self.rng.uniform(8.0, 14.0))))

    def _step(self, server: Server, by_s: float) -> None:
        if abs(server.clock.skew_s + by_s - self.field.other(server).clock.skew_s) < MOST_APART_S:
            server.clock.step(by_s)
            server.deliver()

    def apart(self) -> None:
        """safety.md 10, 13, 25: clients change sides while the servers are apart; what the one ended the other has made longer. Then they
        meet, and others wait for every address."""
        a, b = self.a, self.b
        self.come(self.first, self.one())
        self.play(
            "apart",
            (4.0, self.part),
            (1.0, lambda: self.come(self.first, a)),
            (0.6 * self.mclt_s, lambda: self.come(self.first, a)),
            (self.mclt_s * self.rng.uniform(0.2, 0.6), lambda: self.come(self.first, a)),
            (self.mclt_s * self.rng.uniform(0.2, 0.6), lambda: self.come(self.first, a)),
            (SOON_S, self.heal),
            (1.0, lambda: self.press([*self.second, *self.third], a, b)),
            (2.0 * self.mclt_s, lambda: None),
        )

    def declined(self) -> None:
        """safety.md 13: behind a cut clients decline at a what they hold, and take it again at b, which knows them."""
        a, b = self.a, self.b
        self.come(self.first, a)
        self.play(
            "declined",
            (4.0, lambda: self.come(self.first, a)),
            (2.0, self.part),
            (0.5, lambda: self.shy(1.0)),
            (0.1, lambda: self.come(self.first, a)),
            (SOON_S + 0.3, lambda: self.shy(0.0)),
            (0.1, lambda: self.come(self.first, b)),
            (1.0, lambda: self.press([*self.second, *self.third], a)),
            (self.pair.terms.abandon_s * 0.5, lambda: self.come(self.first, b)),
            (self.pair.terms.abandon_s * 0.5, lambda: self.come(self.first, b)),
            (self.mclt_s, lambda: None),
        )

    def shy(self, decline: float) -> None:
        """How often the first crowd finds an address in use."""
        for client in self.first:
            client.habits.decline = decline

    def halfway(self) -> None:
        """safety.md 13: what a granted alone has reached b, b's acks not a, when the link is cut again. The clients go on with b; a sees
        their leases end, and others wait for them there."""
        a, b, m = self.a, self.b, self.mclt_s
        renewals: list[Step] = [(0.4 * m, lambda: self.come(self.first, b)) for _ in range(4)]
        self.play(
            "halfway",
            (0.1, self.part),
            (0.5, lambda: self.come(self.first, a)),
            (SOON_S + 3.0, lambda: self.go(self.first)),
            (0.1, lambda: self.far(1.0)),
            (0.1, self.heal),
            (0.1, lambda: self.once(self._halfway, self.part)),
            (8.0, lambda: self.come(self.first, b)),
            (1.0, lambda: self.press([*self.second, *self.third], a)),
            *renewals,
            (0.5 * m, lambda: None),
        )

    def _halfway(self) -> bool:
        """Whether b knows a lease as given, and a does not know that it does."""
        one, other = self.a.node, self.b.node
        if one is None or other is None:
            return False
        told = [client.address for client in self.first if client.address]
        return any(one.table.get(each).owed and other.table.get(each).state is BindingState.ACTIVE for each in told)

    def once(self, so: Callable[[], bool], act: Callable[[], object]) -> None:
        """Act as soon as it is so."""
        if so():
            act()
        else:
            self.world.after(0.1, partial(self._act, partial(self.once, so, act)))

    def brief(self) -> None:
        """safety.md 14: a grants until it falls, b is told so, and a is back before MCLT has passed. Sometimes a had lost contact long
        before it fell."""
        a, b = self.a, self.b
        cut = self.rng.random() < 0.6
        self.come(self.first, a)
        self.play(
            "brief",
            (4.0, lambda: self.part() if cut else None),
            (1.2 * self.mclt_s if cut else 1.0, lambda: self.come([*self.first, *self.second], a)),
            (SOON_S + 1.0, lambda: self.falls(a)),
            (0.1, lambda: self.told(b)),
            (1.0, self.heal),
            (0.5, a.boot),
            (1.0, lambda: self.press(self.third, a)),
            (2.0 * self.mclt_s, lambda: None),
        )

    def relay(self) -> None:
        """safety.md 12: a falls, b is told so, uses a's half and falls as well; then a is back and told so. Sometimes a then forgets all
        of it, by a copy of its database, and b, back before a, has waited for a's half long ago."""
        a, b = self.a, self.b
        forgets, copy = self.rng.random() < 0.5, a.disk.copy()
        end: list[Step] = [
            (0.1, lambda: self.put_back(a, copy)),
            (0.1, lambda: self.go(self.third)),
            (0.1, b.boot),
            (4.0, a.boot),
            (1.0, lambda: self.press([*self.first, *self.second], b)),
            (1.5 * self.mclt_s, lambda: None),
        ]
        self.play(
            "relay",
            (0.5, lambda: self.falls(a)),
            (0.5, lambda: self.told(b)),
            (1.0, lambda: self.press([*self.first, *self.second], b)),
            (2.0 * self.mclt_s, lambda: self.come([*self.first, *self.second], b)),
            (SOON_S, lambda: self.breaks(b)),
            (0.1, lambda: self.go(self.first, self.second)),
            (0.2, a.boot),
            (0.5, lambda: self.told(a)),
            (1.0, lambda: self.press(self.third, a)),
            (1.5 * self.mclt_s, lambda: None),
            (RESTART_GRACE_S, lambda: None),
            *(end if forgets else ()),
        )

    def nobody(self) -> None:
        """safety.md 12, 15: both fall, a without its database or with an earlier copy; it is back alone and told that b is dead, while
        clients hold what b gave."""
        a, b = self.a, self.b
        copy = a.disk.copy() if self.rng.random() < 0.4 else None
        self.come(self.first, b)
        self.play(
            "nobody",
            (4.0, lambda: self.come(self.first, b)),
            (SOON_S + 0.5, lambda: self.falls(b)),
            (0.1, lambda: self.lost(a) if copy is None else self.put_back(a, copy)),
            (0.1, lambda: self.go(self.first)),
            (0.5, a.boot),
            (1.0, lambda: self.told(a)),
            (1.0, lambda: self.press([*self.second, *self.third], a)),
            (self.lease_s + 4.0 * self.mclt_s, lambda: None),
        )

    def copied(self) -> None:
        """safety.md 15: leases come and go after a copy of a's database was made; a comes back with the copy, and with clients that
        want what is free there, or that held something then."""
        a, b = self.a, self.b
        left = self.rng.random() < 0.6
        copies: list[Any] = []
        self.come(self.first, a)
        self.play(
            f"copied{', and left' if left else ''}",
            (4.0, lambda: self.come(self.first, a)),
            (3.0, lambda: copies.append(a.disk.copy())),
            (0.5, lambda: self.leave(self.first) if left else None),
            (0.5, lambda: self.come(self.second, *((b,) if left else (a, b)))),
            (3.0, lambda: self.come(self.second, a, b)),
            (SOON_S + 1.0, lambda: self.put_back(a, copies[0])),
            (1.0, a.boot),
            (0.1, lambda: self.press([*self.first, *self.third] if left else self.third, a)),
            (2.0 * self.mclt_s, lambda: None),
        )

    def put_back(self, server: Server, copy: Any) -> None:
        """The earlier file is there again."""
        if self.whole(self.field.other(server)):
            self.note("disk rolled back", server.name)
            server.change_disk("disk rolled back", partial(server.disk.put_back, copy))

    def slowly(self) -> None:
        """safety.md 18: a falls, b is told so and uses a's half; a is back on a slow link and hears of it lease by lease. Sometimes b gives
        more of it just when a has recovered (simulator, seed 10184)."""
        a, b = self.a, self.b
        late = self.rng.random() < 0.5
        self.come(self.first[:1], a)
        self.play(
            "slowly",
            (4.0, lambda: self.falls(a)),
            (0.5, lambda: self.told(b)),
            (0.5, lambda: self.press(self.first if late else [*self.first, *self.second], b)),
            (1.8 * self.mclt_s, self.far),
            (0.5, a.boot),
            (0.5, lambda: self.once(self._recovered, lambda: self.come(self.second, b)) if late else self.go(self.second)),
            (0.1, lambda: self.press(self.third, a)),
            (3.0 * self.mclt_s, lambda: None),
        )

    def _recovered(self) -> bool:
        """Whether a has recovered; b may not have heard so."""
        return self.a.node is not None and any(each.state.words == "recover-done" for each in self.a.node.endpoints.values())

    def crossing(self) -> None:
        """safety.md 2: over a slow link each ack comes when the lease has been renewed again; then the link is cut."""
        a = self.a
        self.far()
        renewals = [(self.rng.uniform(1.0, 4.0), lambda: self.come(self.first, a)) for _ in range(5)]
        alone = [(0.5 * self.mclt_s, lambda: self.come(self.first, a)) for _ in range(6)]
        self.play("crossing", (9.0, lambda: self.come(self.first, a)), *renewals, (0.5, self.part), *alone)

    def empty(self) -> None:
        """safety.md 16: both lose their databases while clients hold what each gave. They wait; or an operator states that no leases exist,
        when that is so; or one is back alone and told that the other is dead, and the other one after it."""
        a, b, lease_s = self.a, self.b, self.lease_s
        fate = "stated" if self.wrong else self.rng.choice(("waits", "stated", "alone", "one after the other"))
        late_s = lease_s * self.rng.uniform(0.6, 0.9) if fate in ("stated", "one after the other") else self.rng.uniform(0.5, 10.0)
        alone = fate in ("alone", "one after the other")
        self.come(self.first, a)
        self.come(self.second, b)
        steps: list[Step] = [
            (4.0, lambda: self.come([*self.first, *self.second], a, b)),
            (SOON_S + 1.0, self.lose_both),
            (0.1, lambda: self.go(self.first, self.second)),
            (late_s, a.boot),
            (0.5, lambda: None if alone else b.boot()),
            (1.0, lambda: self.told(a) if fate == "alone" else None),
            (0.5, lambda: self.press(self.third, a, b)),
        ]
        if fate == "stated":
            steps.append((3.0, lambda: self.attest(a, b)))
        if fate == "one after the other":
            steps += self._one_after_the_other()
        self.play(f"empty, {fate}", *steps, (lease_s + self.mclt_s, lambda: None))

    def _one_after_the_other(self) -> list[Step]:
        """Both are told at a time when it is so that no leases exist, and never meet: b, dead at first, is alone after a, which was told
        partner-down and has used b's half."""
        a, b = self.a, self.b
        return [
            (0.5 * self.lease_s, self.part),
            (0.1, b.boot),
            (1.0, lambda: self.attest(a, b)),
            (2.0, lambda: self.falls(b)),
            (0.5, lambda: self.told(a)),
            (1.0, lambda: self.press([*self.first, *self.second], a)),
            (1.5 * self.mclt_s, lambda: self.come([*self.first, *self.second], a)),
            (SOON_S, lambda: self.breaks(a)),
            (0.1, lambda: self.go(self.first, self.second)),
            (0.2, b.boot),
            (0.5, lambda: self.told(b)),
            (1.0, lambda: self.press(self.third, b)),
        ]


STORIES: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
    "asleep": (Story, Story.asleep),
    "alone": (Story, Story.alone),
    "unheard": (Story, Story.unheard),
    "apart": (Story, Story.apart),
    "declined": (Story, Story.declined),
    "halfway": (Story, Story.halfway),
    "brief": (Story, Story.brief),
    "relay": (Story, Story.relay),
    "nobody": (Story, Story.nobody),
    "copied": (Story, Story.copied),
    "slowly": (Story, Story.slowly),
    "crossing": (Story, Story.crossing),
    "empty": (Story, Story.empty),
}

"""The language of the scenarios. A file is a comment, then commands, each with `----` and the full transcript under it:

    # what one should see, and why
    client 1 dora
    ----
        8.210  client 1 -> all  DISCOVER
        ...

`run(text)` carries the commands out and returns the file as it should be; an empty line ends a transcript.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from failoverd.node import Node
from failoverd.ports import Stopping
from failoverd.sim.disk import Rows
from failoverd.sim.server import RELATIONSHIP
from tests.scenarios.people import Client
from tests.scenarios.stage import ADDRESS, TERMS, Stage
from tests.scenarios.words import dotted, lease_line, said

CLIENT_WAIT_S = 0.1
PING_WAIT_S = 1.2  # an OFFER waits for the ping
SETTLE_S = 0.05
UNTIL_S = 300.0
STEP_S = 0.05
NAME_OF = {address: name for name, address in ADDRESS.items()}


class ScriptError(Exception):
    """A command that the language does not have."""


def run(text: str) -> str:
    """The same script with the transcript of this run."""
    out: list[str] = []
    script = Script()
    for line in commands(text):
        out.append(line)
        if line and not line.startswith("#"):
            out += ["----", *script.carry_out(line), ""]
    return "\n".join(out).rstrip("\n") + "\n"


def commands(text: str) -> list[str]:
    """Comments, with the empty line that ends a block of them, and commands."""
    kept: list[str] = []
    told = False
    for line in text.splitlines():
        if line == "----":
            told = True
        elif told:
            told = bool(line)
        elif line or (kept and kept[-1].startswith("#")):
            kept.append(line)
    return kept


class Script:
    """One run."""

    def __init__(self) -> None:
        """Nobody is on the stage; the first command is `pair` or `scripted`."""
        self._stage: Stage | None = None
        self.copies: dict[str, tuple[Rows, float, int]] = {}
        self.pings = False

    @property
    def stage(self) -> Stage:
        """The world of this script."""
        if self._stage is None:
            raise ScriptError("begin with `pair` or `scripted`")
        return self._stage

    def carry_out(self, line: str) -> list[str]:
        """One command; what happened."""
        words = [word for word in line.split() if "=" not in word]
        options = dict(word.split("=", 1) for word in line.split() if "=" in word)
        act: Callable[[list[str], dict[str, str]], None] | None = getattr(self, f"_{words[0].replace('-', '_')}", None)
        if act is None:
            raise ScriptError(f"no such command: {line}")
        act(words[1:], options)
        return self.stage.take() or ["(nothing)"]

    def _let(self, seconds: float) -> None:
        self.stage.world.run_until(round(self.stage.world.t + seconds, 6))

    # --- the stage --------------------------------------------------------------------------------------------------------

    def _pair(self, words: list[str], options: dict[str, str], scripted: bool = False) -> None:
        """pair [mclt=60s lease=10m delay=10s window=10 split=128 pool=8 abandon=3m primary=a tls=yes lone_boot=bounded ping=true]"""
        self._stage = Stage(options, scripted)
        self.pings = options.get("ping") == "true"
        shown = {**TERMS, **options}
        self.stage.lines.append("  ".join(f"{name} {value}" for name, value in shown.items()))

    def _scripted(self, words: list[str], options: dict[str, str]) -> None:
        """scripted [...]: the same with a puppet in the place of b."""
        self._pair(words, options, True)

    def _start(self, words: list[str], options: dict[str, str]) -> None:
        """start a [b]: boot, and let the first messages cross."""
        for name in words:
            self.stage.servers[name].boot()
        self._let(SETTLE_S)

    def _boot(self, words: list[str], options: dict[str, str]) -> None:
        """boot a [without-database]"""
        if "without-database" in words:
            self.stage.servers[words[0]].disk.lose()
        self._start(words[:1], options)

    def _normal(self, words: list[str], options: dict[str, str]) -> None:
        """Start both, say that the pair is new, let them balance: all that is first-contact.txt, untold."""
        stage = self.stage
        stage.hushed = True
        for server in stage.servers.values():
            server.boot()
            server.command("pair-init", {"relationship": RELATIONSHIP})
        self._let(SETTLE_S)
        while not stage.normal():
            self._let(STEP_S)
        self._let(1.0)
        stage.take()
        stage.hushed = False
        self._status([], {})

    def _wait(self, words: list[str], options: dict[str, str]) -> None:
        """wait 60s; wait normal: until both are in normal and owe nothing, at most 300 s"""
        if words != ["normal"]:
            self._let(float(words[0].removesuffix("s")))
            return
        began = self.stage.world.t
        while not self.stage.normal() and self.stage.world.t < began + UNTIL_S:
            self._let(STEP_S)
        self.stage.tell(f"both in normal after {self.stage.world.t - began:.2f} s" if self.stage.normal() else "not normal")

    # --- mishaps ----------------------------------------------------------------------------------------------------------

    def _cut(self, words: list[str], options: dict[str, str]) -> None:
        """Nothing arrives on the failover link, and nobody is told."""
        self.stage.tcp.cut = True

    def _heal(self, words: list[str], options: dict[str, str]) -> None:
        """The link is whole."""
        self.stage.tcp.heal()
        self._let(SETTLE_S)

    def _kill(self, words: list[str], options: dict[str, str]) -> None:
        """kill a [power]: kill -9, the kernel closes the connections; or the host loses its power, and nobody does."""
        self.stage.servers[words[0]].crash("no power" if "power" in words else "kill -9", power="power" in words)
        self._let(SETTLE_S)

    def _stop(self, words: list[str], options: dict[str, str]) -> None:
        """stop a: SIGTERM"""
        server = self.stage.servers[words[0]]
        server.deliver(Stopping())
        self._let(SETTLE_S)
        server.crash("SIGTERM")
        self._let(SETTLE_S)

    def _freeze(self, words: list[str], options: dict[str, str]) -> None:
        """freeze a 100s: SIGSTOP, and SIGCONT after so long"""
        self.stage.servers[words[0]].pause(float(words[1].removesuffix("s")))

    def _clock(self, words: list[str], options: dict[str, str]) -> None:
        """clock a +120s: somebody sets the wall clock"""
        server = self.stage.servers[words[0]]
        server.clock.step(float(words[1].removesuffix("s")))
        server.deliver()
        self._let(SETTLE_S)

    def _copy_database(self, words: list[str], options: dict[str, str]) -> None:
        """copy-database a: the file as it is now"""
        self.copies[words[0]] = self.stage.servers[words[0]].disk.copy()

    def _put_back_database(self, words: list[str], options: dict[str, str]) -> None:
        """put-back-database a: the copy, under a server that is down"""
        self.stage.servers[words[0]].disk.put_back(self.copies[words[0]])

    def _master(self, words: list[str], options: dict[str, str]) -> None:
        """master down|up: the DNS master hears nothing, or answers"""
        self.stage.master_up = words[0] == "up"

    def _squatter(self, words: list[str], options: dict[str, str]) -> None:
        """squatter 10.10.0.10: somebody uses the address without having asked, and answers pings"""
        self.stage.squatters.add(_address(words[0]))

    # --- the operator -----------------------------------------------------------------------------------------------------

    def _operator(self, words: list[str], options: dict[str, str]) -> None:
        """operator a VERB [key=value]: what failoverctl would have said"""
        server = self.stage.servers[words[0]]
        before = len(server.replies)
        server.command(words[1], {"relationship": RELATIONSHIP, **options})
        self._let(SETTLE_S)
        for reply in server.replies[before:]:
            self.stage.tell(f"{words[0]}          reply {reply.code}{': ' if reply.message else ''}{reply.message}")

    def _status(self, words: list[str], options: dict[str, str]) -> None:
        """What each server says of itself, its partner and its pool."""
        for name, server in self.stage.servers.items():
            node = server.node
            if node is None:
                self.stage.tell(f"{name}          is down")
                continue
            now = server.clock.read()
            told = node.status(now)
            link = cast(list[dict[str, Any]], told["relationships"])[0]
            counts = ", ".join(f"{count} {state}" for state, count in _counts(node).items())
            why = f" ({link['why']})" if link["why"] else ""
            serving = (
                f"serves {link['serving']}" if isinstance(link["serving"], str) else ("serves" if link["serving"] else "silent")
            )
            self.stage.tell(
                f"{name}          {link['state']}, partner {link['partner_state']}; {serving}{why}; owes {link['owed']};"
                f" addresses: {counts}"
            )

    def _leases(self, words: list[str], options: dict[str, str]) -> None:
        """Every lease with a client, on both servers; times from each server's now."""
        stage = self.stage
        rows = {
            (lease.address, name): lease_line(lease, int(server.clock.read().wall))
            for name, server in stage.servers.items()
            if server.node is not None
            for lease in server.node.table.rows()
            if lease.client or lease.state not in (1, 7)
        }
        for address, name in sorted(rows):
            stage.tell(f"{name}          {dotted(address)}  {rows[address, name]}")

    def _names(self, words: list[str], options: dict[str, str]) -> None:
        """What the zones hold."""
        for name, rtype, value in self.stage.master.records():
            self.stage.tell(f"DNS        {name} {rtype} {value if rtype != 'DHCID' else '..'}")

    # --- clients ----------------------------------------------------------------------------------------------------------

    def _client(self, words: list[str], options: dict[str, str]) -> None:
        """client N discover|dora|renew|rebind|reboot|release|decline [secs=0] [to=a] [name=host1]: `to`, the servers that it reaches"""
        client, verb = self.stage.client(int(words[0])), words[1]
        client.name = options.get("name", client.name)
        secs, to = int(options.get("secs", "0")), options.get("to", "ab")
        reached = [name for name in to if name in self.stage.servers]
        if verb in ("discover", "dora"):
            wanted = options.get("wants", "")
            self._says(client, "DISCOVER", client.discover(secs, _address(wanted) if wanted else 0), reached, secs)
            request = client.select(secs) if verb == "dora" else None
            if request is not None:
                server, address = client.offers[0]
                self._says(client, f"REQUEST {dotted(address)} of {NAME_OF[server]}", request, reached, secs)
            elif verb == "dora":
                self.stage.tell(f"client {client.number}   hears no offer")
        elif verb == "renew":
            at = [NAME_OF[client.server]]
            self._says(client, f"REQUEST (renewing {dotted(client.address)})", client.extend(secs), at, secs, unicast=True)
        elif verb == "rebind":
            self._says(client, f"REQUEST (rebinding {dotted(client.address)})", client.extend(secs), reached, secs)
        elif verb == "reboot":
            self._says(client, f"REQUEST (rebooting with {dotted(client.address)})", client.reboot(), reached, secs)
        elif verb == "release":
            at = [NAME_OF[client.server]]
            self._says(client, f"RELEASE {dotted(client.address)}", client.release(), at, 0, unicast=True)
        elif verb == "decline":
            self._says(client, f"DECLINE {dotted(client.address)}", client.decline(), reached, 0)
        else:
            raise ScriptError(f"a client does not {verb}")

    def _says(self, client: Client, what: str, data: bytes, to: list[str], secs: int, *, unicast: bool = False) -> None:
        aim = "+".join(to) if unicast or len(to) < len(self.stage.servers) else "all"
        self.stage.tell(f"client {client.number} -> {aim}  {what}{f'  secs {secs}' if secs else ''}")
        heard = len(client.heard)
        self.stage.to_servers(client, data, to, unicast=unicast)
        self._let(PING_WAIT_S if what == "DISCOVER" and self.pings else CLIENT_WAIT_S)
        if len(client.heard) == heard and "RELEASE" not in what and "DECLINE" not in what:
            self.stage.tell(f"client {client.number}   hears nothing")

    # --- the puppet -------------------------------------------------------------------------------------------------------

    def _b(self, words: list[str], options: dict[str, str]) -> None:
        """b dials; b hangs-up; b listens; b is-gone; b says MESSAGE ... key=value: the puppet"""
        puppet = self.stage.puppet
        if puppet is None:
            raise ScriptError("only a `scripted` b has strings")
        if words[0] == "dials":
            self.stage.tcp.connect(puppet, self.stage.servers["a"])
        elif words[0] == "hangs-up":
            self.stage.tcp.close(puppet, puppet.wires[-1], "as the script has it")
        elif words[0] in ("listens", "is-gone"):
            puppet.up = words[0] == "listens"
        elif words[0] == "says":
            self.stage.message("b", said(puppet.say(words[1:], options)))
        else:
            raise ScriptError(f"b cannot {words[0]}")
        self._let(SETTLE_S)


def _counts(node: Node) -> dict[str, int]:
    """How many addresses are in which state; those never used are FREE."""
    counts: dict[str, int] = {}
    for state in node.table.pools.values():
        for at in range(state.pool.size):
            name = node.table.get(0x0A0A000A + at).state.name
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _address(text: str) -> int:
    return int.from_bytes(bytes(map(int, text.split("."))), "big")

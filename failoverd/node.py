"""Routes each input to its room, and drives one step. Holds no rule (a lease changes in node_house.py only).

A step takes inputs and the time and gives one Output: writes, sends before and after their commit, notes (ports.py). No clock, no
socket, no log here; the shell and the simulator drive the same Node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from failoverd import node_probes, node_verbs
from failoverd.config import Config
from failoverd.ddns.names import dotted
from failoverd.dhcp import classify, fqdn, serve
from failoverd.dhcp.message import decode
from failoverd.dhcp.reasons import OPTIONS_LEFT_OUT, PacketError
from failoverd.dhcp.unheard import PARTNER_UNHEARD
from failoverd.node_house import House
from failoverd.node_names import UNUSED
from failoverd.notes import Note
from failoverd.ports import (
    ClientDatagram,
    ClientSend,
    ClockState,
    Command,
    ConnectFailed,
    DiskState,
    DnsAnswer,
    Input,
    InterfaceAddresses,
    LinkBytes,
    LinkDown,
    LinkSecurity,
    LinkUp,
    Now,
    Origin,
    Output,
    ProbeAnswer,
    Reply,
    Stopping,
    Stored,
    ZoneHosts,
)

DECISIONS = 20_000  # notes kept for `explain`


class Node(House):
    """One server. `step` it with what happened, again at `deadline`."""

    def __init__(self, config: Config, server: str, stored: Stored, now: Now, rng: Random) -> None:
        """From the configuration and what the store held; `boot` must be called once before the first step."""
        super().__init__(config, server, stored, now, rng)
        self.stopping, self.clock_synchronised = False, True
        self.decisions: deque[Note] = deque(maxlen=DECISIONS)
        self.counts: dict[str, int] = {}
        self._inputs = self.routes()

    def routes(self) -> dict[type, Callable[..., None]]:
        """Which input goes where."""
        return {
            ClientDatagram: self.datagram,
            InterfaceAddresses: self._addresses,
            LinkUp: lambda i, n: self.endpoints[i.relationship].link_up(i.link, i.outgoing, n, authenticated=i.authenticated),
            LinkBytes: lambda i, n: self.endpoints[i.relationship].link_bytes(i.link, i.data, n),
            LinkDown: self._link_down,
            ConnectFailed: lambda i, n: self.endpoints[i.relationship].connect_failed(i.reason, n, answered=i.answered),
            LinkSecurity: lambda i, n: self.endpoints[i.relationship].secured(i, n),
            DnsAnswer: self._dns_answer,
            ProbeAnswer: lambda i, n: node_probes.answered(self, i, n),
            ZoneHosts: lambda i, n: self.names.protect(i.zone, i.hosts),
            Command: self._command,
            ClockState: self._clock,
            DiskState: self._disk,
            Stopping: self._stop,
        }

    def boot(self, now: Now) -> Output:
        """The first step: fences are set, the partner is dialled, a survivor takes up its partner's names again."""
        self.take_up(now)
        return self.step((), now)

    # --- one step ---------------------------------------------------------------------------------------------------------

    def step(self, inputs: Sequence[Input], now: Now, commit_age_s: float = 0.0) -> Output:
        """Take what happened, then do what is due. `commit_age_s`: how long a commit has been under way (safety.md 4)."""
        self.now = now
        hung = any(commit_age_s > e.terms.max_response_delay_s / 3 for e in self.endpoints.values())
        for endpoint in self.endpoints.values():
            endpoint.read_clock(now)
        self.rights.clear()
        for each in inputs:
            if not isinstance(each, ClientDatagram):
                self.rights.clear()
            self._inputs[type(each)](each, now)
        node_probes.silent(self, now)
        self.rights.clear()
        self.reclaim(now)
        for name, endpoint in self.endpoints.items():
            if name in self.left_free:
                endpoint.free_changed(now)
            endpoint.tick(now, commit_age_s)
        self.let_overdue_go(now)
        self.left_free.clear()
        waits = any(endpoint.names_wait(now) for endpoint in self.endpoints.values())
        self.planner.fence(any(endpoint.fenced for endpoint in self.endpoints.values()), now, self.out, waits=waits)
        self.planner.due(now, self.out)
        self.tell_partners(now)
        self.table.sweep_offers(now.mono)
        out, self.out = self.out, Output()
        self.committed += len(out.writes)
        if hung:
            out.at_once = [send for send in out.at_once if not isinstance(send, ClientSend)]
        for note in out.notes:
            self.counts[note.name] = self.counts.get(note.name, 0) + 1
        self.decisions.extend(out.notes)
        return out

    def deadline(self, now: Now) -> float:
        """The mono time of the next wanted step."""
        times = [endpoint.deadline(now) for endpoint in self.endpoints.values()]
        times += [now.mono if self.planner.untold else self.planner.deadline(now), self.held.deadline()]
        times.append(self.probing.deadline())
        due = self.table.next_due()
        if due is not None:
            times.append(now.mono + max(due - now.wall, 0.0))
        return min(times, default=now.mono + 60.0)

    def status(self, now: Now) -> dict[str, object]:
        """Plain data: what API, CLI and simulator print."""
        from failoverd.status import status

        return status(self, now)

    # --- inputs -----------------------------------------------------------------------------------------------------------

    def datagram(self, datagram: ClientDatagram, now: Now, *, again: bool = False) -> None:
        """What a client says. `again`: it has waited for a ping."""
        try:
            packet = decode(datagram.data)
            kind = classify.classify(packet, datagram.dst_ip)
        except PacketError as error:
            self.out.notes.append(Note(error.reason, now.wall, b"", datagram.src_ip, datagram.interface, error.text))
            return
        decision = serve.decide(packet, kind, datagram, self, now, again=again)
        client = packet.hw
        self.out.notes.append(Note(decision.why, now.wall, client, decision.address, kind.value, decision.detail))
        if decision.left_out:
            codes = ", ".join(map(str, decision.left_out))
            self.out.notes.append(Note(OPTIONS_LEFT_OUT, now.wall, client, decision.address, datagram.interface, codes))
        if decision.malformed_fqdn:
            self.out.notes.append(
                Note(fqdn.MALFORMED, now.wall, client, decision.address, datagram.interface, decision.malformed_fqdn)
            )
        if decision.unusable:
            self.out.notes.append(Note(UNUSED, now.wall, client, decision.address, datagram.interface, decision.unusable))
        if decision.unheard:
            relay = dotted(packet.giaddr) if packet.giaddr else "no relay"
            self.out.notes.append(Note(PARTNER_UNHEARD, now.wall, client, packet.giaddr, datagram.interface, relay))
        if decision.probe_s:
            node_probes.begin(self, decision, datagram, packet, now)
        new = None
        if decision.new is not None and decision.old is not None:
            new = self.change(decision.old, decision.new, Origin.CLIENT, decision.why, now)
        if decision.route is not None:
            where = decision.route
            send = ClientSend(datagram.interface, datagram.local_ip, where.ip, where.port, decision.reply, where.hw, datagram.mono)
            if decision.at_once or new is None or not self.hold(new, send, now):
                (self.out.at_once if decision.at_once else self.out.after_commit).append(send)

    def _dns_answer(self, answer: DnsAnswer, now: Now) -> None:
        self.planner.answered(answer, now, self.out)

    def _addresses(self, each: InterfaceAddresses, now: Now) -> None:
        self.interfaces[each.interface] = each.addresses

    def _link_down(self, each: LinkDown, now: Now) -> None:
        endpoint = self.endpoints[each.relationship]
        endpoint.link_down(each.link, each.reason, now)
        if each.reason.startswith("beat-gap"):
            endpoint.beat_gap(now)

    def _command(self, command: Command, now: Now) -> None:
        code, body, message, mutating = node_verbs.run(self, command, now)
        reply = Reply(command.ident, code, body, message)
        (self.out.after_commit if mutating else self.out.at_once).append(reply)

    def _clock(self, each: ClockState, now: Now) -> None:
        self.clock_synchronised = each.synchronised
        for endpoint in self.endpoints.values():
            endpoint.clock_state(each.synchronised)

    def _disk(self, each: DiskState, now: Now) -> None:
        self.low_disk = each.low

    def _stop(self, each: Stopping, now: Now) -> None:
        self.stopping = True
        for endpoint in self.endpoints.values():
            endpoint.stop(now)

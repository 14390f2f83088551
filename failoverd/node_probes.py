"""What the node makes of a ping: a silent address is offered to the client that waited for it, one that answers is ABANDONED."""

from __future__ import annotations

from typing import TYPE_CHECKING

from failoverd.dhcp.client import client_of
from failoverd.dhcp.message import MessageType, Packet
from failoverd.dhcp.probing import AGAIN_S, ANSWERED, MUST_PING, OVERTAKEN, UNSENT, Told, Waiting
from failoverd.dhcp.serve import Decision, found_in_use
from failoverd.leases.allocate import refusal
from failoverd.notes import Note
from failoverd.ports import ClientDatagram, Now, Origin, Probe, ProbeAnswer

if TYPE_CHECKING:
    from failoverd.node import Node


def begin(node: Node, decision: Decision, datagram: ClientDatagram, packet: Packet, now: Now) -> None:
    """The message waits; its address is reserved for it (safety.md 6). A repeated one takes its place, without a second ping."""
    due = now.mono + decision.probe_s
    discover = packet.message_type == MessageType.DISCOVER
    waiting = Waiting(datagram, client_of(packet).key, packet.hw, due, decision.must_probe, discover)
    earlier = node.probing.waits(decision.address)
    if earlier is not None and earlier.client != waiting.client:
        _note(node, OVERTAKEN, now, earlier, decision.address)
    if node.probing.hold(decision.address, waiting):
        node.out.at_once.append(Probe(decision.address))


def answered(node: Node, answer: ProbeAnswer, now: Now) -> None:
    """Somebody is there, or the ping could not be sent."""
    address = answer.address
    if not answer.heard:
        waiting = node.probing.take(address)
        if waiting is None:
            return
        _note(node, UNSENT, now, waiting, address, answer.detail)
        if waiting.must:
            node.table.take_offer(address)
            if waiting.discover:
                _note(node, MUST_PING, now, waiting, address)
            else:
                node.datagram(waiting.datagram, now, again=True)
        else:
            node.probing.silence(address, now.mono)
            node.datagram(waiting.datagram, now, again=True)
        return
    waiting = node.probing.take(address)
    if waiting is None and not node.probing.was_silent(address, now.mono):
        return
    # An answer that comes after the OFFER has left still keeps the client off: its REQUEST gets a DHCPNAK.
    client = waiting.client if waiting is not None else node.table.offered_to(address, now.mono)
    hw = waiting.hw if waiting is not None else client[1:]
    node.probing.forget(address)
    node.probing.untold.append(Told(address, True, answer.mono))
    node.out.notes.append(Note(ANSWERED, now.wall, hw, address, "", "" if waiting is not None else "after the OFFER"))
    _abandon(node, address, client, now)
    if waiting is not None and now.mono - waiting.datagram.mono <= AGAIN_S:
        node.datagram(waiting.datagram, now, again=True)


def _abandon(node: Node, address: int, client: bytes, now: Now) -> None:
    """As a DHCPDECLINE does, if nothing has happened to the address meanwhile and it is still ours to give."""
    node.table.take_offer(address)
    lease, state, wall = node.table.get(address), node.table.pool_of(address), int(now.wall)
    ours = state is not None and not refusal(lease, client, node.rights_of(state.pool.relationship), wall)
    decision = found_in_use(ANSWERED, lease, node, wall, entitled=ours)
    if decision.new is not None:
        node.change(lease, decision.new, Origin.CLIENT, ANSWERED, now)


def silent(node: Node, now: Now) -> None:
    """Those whose address has been silent for long enough."""
    for _, waiting in node.probing.silent_until(now.mono):
        node.datagram(waiting.datagram, now, again=True)


def _note(node: Node, name: str, now: Now, waiting: Waiting, address: int, detail: str = "") -> None:
    node.out.notes.append(Note(name, now.wall, waiting.hw, address, waiting.datagram.interface, detail))

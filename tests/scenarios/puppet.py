"""A partner of no will of its own: it says on the failover link what the script wants said, and the transcript shows what it hears."""

from __future__ import annotations

from failoverd.failover import message as wire
from failoverd.failover.message import Binding, Message, MessageType, ServerFlag, ServerState
from failoverd.leases.lease import BindingState
from failoverd.sim.network import Tcp
from failoverd.sim.world import EPOCH, World

RECEIVE_TIMER_S = 10
HALF = bytes([0xFF] * 16 + [0] * 16)


class Puppet:
    """The peer `b` of a scripted scenario, at its end of the TCP connections. `node`: it is no server of ours."""

    def __init__(self, world: World, name: str, address: int, tcp: Tcp) -> None:
        """Listening."""
        self.world, self.name, self.address, self.tcp = world, name, address, tcp
        self.up = self.powered = True
        self.node = None
        self.wires: list[int] = []
        self.xid = 100

    def link_up(self, wire: int, outgoing: bool, relationship: str) -> None:
        """The server dialled, or answered."""
        self.wires.append(wire)

    def link_bytes(self, wire: int, data: bytes) -> None:
        """The transcript shows it where it was sent."""

    def link_down(self, wire: int, reason: str) -> None:
        """One connection fewer."""
        self.wires = [each for each in self.wires if each != wire]

    def connect_failed(self, reason: str, relationship: str) -> None:
        """This one never dials."""

    def say(self, words: list[str], options: dict[str, str]) -> Message:
        """Build one message and send it on the newest connection. `options`: times as seconds from now, the rest as in the draft."""
        now = EPOCH + int(self.world.t) + int(options.pop("clock", "0"))
        self.xid += 1
        message = self._build(MessageType[words[0]], words[1:], options, now)
        assert not options, f"unknown: {options}"
        assert self.wires, "no connection"
        self.tcp.send(self, self.wires[-1], wire.encode(message))
        return message

    def _build(self, kind: MessageType, words: list[str], options: dict[str, str], now: int) -> Message:
        if kind in (MessageType.CONNECT, MessageType.CONNECTACK):
            return self._handshake(kind, options, now)
        if kind is MessageType.STATE:
            state = ServerState[words[0].upper().replace("-", "_")]
            flags = ServerFlag.STARTUP if options.pop("startup", "") else 0
            return wire.state(now, self.xid, state=state, flags=flags, since=now + int(options.pop("since", "0")))
        if kind is MessageType.BNDUPD:
            return wire.bndupd(now, self.xid, self._binding(words, options, now))
        if kind is MessageType.BNDACK:
            reason = options.pop("reject", "")
            address = _address(words[0])
            if reason:
                return wire.bnd_reject(now, self._echoed(options), address, int(reason), "")
            return wire.bndack(now, self._echoed(options), address)
        if kind is MessageType.POOLRESP:
            return wire.poolresp(now, self._echoed(options), int(words[0]))
        if kind is MessageType.UPDDONE:
            return wire.upddone(now, self._echoed(options))
        return Message(kind, now, self.xid)

    def _echoed(self, options: dict[str, str]) -> int:
        return int(options.pop("xid", str(self.xid)))

    def _handshake(self, kind: MessageType, options: dict[str, str], now: int) -> Message:
        name = options.pop("name", "pair").encode()
        if kind is MessageType.CONNECT:
            mclt = int(options.pop("mclt", "60"))
            return wire.connect(now, self.xid, name=name, max_unacked=10, receive_timer=RECEIVE_TIMER_S, mclt=mclt, hba=HALF)
        return wire.connect_ack(
            now, self._echoed(options), name=name, max_unacked=10, receive_timer=RECEIVE_TIMER_S, tls_asked=True
        )

    def _binding(self, words: list[str], options: dict[str, str], now: int) -> Binding:
        def time(name: str) -> int:
            value = options.pop(name, "")
            return now + int(value) if value else 0

        client = options.pop("client", "")
        hw = mac(int(client)) if client else None
        return Binding(
            address=_address(words[0]),
            state=BindingState[words[1]],
            hw=b"\x01" + hw if hw else None,
            ends=time("ends"),
            potential=time("potential"),
            starts=time("start"),
            cltt=time("cltt"),
        )


def mac(number: int) -> bytes:
    """The hardware address of client `number`."""
    return b"\x02\0\0\0" + number.to_bytes(2, "big")


def _address(text: str) -> int:
    return int.from_bytes(bytes(map(int, text.split("."))), "big")

"""What crosses the wire, in the words of the draft and in times relative to the sender's clock."""

from __future__ import annotations

from failoverd.failover import private
from failoverd.failover.message import Message, MessageType, OptionCode, RejectReason, ServerFlag, ServerState, binding
from failoverd.leases.lease import FLAG_RESERVED, BindingState, Lease

NOTHING = frozenset[int]()
PRIVATE = {
    private.DIALECT: "dialect",
    private.DATABASE: "database",
    private.KNOWN: "known",
    private.EPOCH: "epoch",
    private.DIGEST: "digest",
    private.GENERATION: "",  # in nearly every message, and it says only that a commit was made
    private.FRAME: "frame",
}


def dotted(address: int) -> str:
    """10.10.0.12"""
    return ".".join(str(octet) for octet in address.to_bytes(4, "big"))


def relative(time: int, now: int) -> str:
    """A time as seconds from now: "+60", "-5"; "never" for an unset one."""
    return f"{time - now:+d}" if time else "never"


def person(hw: bytes | None, client_id: bytes | None = None) -> str:
    """The client of a binding: "client 7" for ours (its number is in the last two octets)."""
    if not hw:
        return f"client-id {client_id.hex()}" if client_id else "nobody"
    return f"client {int.from_bytes(hw[-2:], 'big')}"


def said(message: Message) -> str:
    """One message of the failover protocol."""
    try:
        name = MessageType(message.kind).name
    except ValueError:
        return f"message type {message.kind}"
    parts = [name, *_of(message), *_private(message)]
    return "  ".join(part for part in parts if part)


def _of(message: Message) -> list[str]:
    kind = message.kind
    if kind in (MessageType.CONNECT, MessageType.CONNECTACK):
        return _handshake(message)
    if kind == MessageType.STATE:
        state = ServerState(message.u8(OptionCode.SERVER_STATE) or 0).words
        startup = " (startup)" if (message.u8(OptionCode.SERVER_FLAGS) or 0) & ServerFlag.STARTUP else ""
        return [f"{state}{startup}", f"since {relative(message.u32(OptionCode.START_TIME_OF_STATE) or 0, message.time)}"]
    if kind == MessageType.BNDUPD:
        return _binding(message)
    if kind == MessageType.BNDACK:
        return [dotted(message.u32(OptionCode.ASSIGNED_IP_ADDRESS) or 0), _rejected(message)]
    if kind == MessageType.POOLRESP:
        return [f"{message.u32(OptionCode.ADDRESSES_TRANSFERRED)} addresses"]
    return [_rejected(message)]


def _handshake(message: Message) -> list[str]:
    mclt, hba = message.u32(OptionCode.MCLT), message.raw(OptionCode.HASH_BUCKET_ASSIGNMENT)
    unacked, timer = message.u32(OptionCode.MAX_UNACKED_BNDUPD), message.u32(OptionCode.RECEIVE_TIMER)
    return [
        f'"{message.text(OptionCode.RELATIONSHIP_NAME)}"',
        f"mclt {mclt}" if mclt is not None else "",
        f"max-unacked {unacked}" if unacked is not None else "",
        f"receive-timer {timer}" if timer is not None else "",
        f"primary serves {int.from_bytes(hba, 'big').bit_count()} of 256 buckets" if hba else "",
        _rejected(message),
    ]


def _binding(message: Message) -> list[str]:
    told = binding(message)
    status = BindingState(told.state or 0).name
    if told.state in (BindingState.FREE, BindingState.BACKUP) and not told.hw and not (told.ends or told.potential or told.cltt):
        return [dotted(told.address or 0), status]
    times = {"ends": told.ends, "potential": told.potential, "start": told.starts, "cltt": told.cltt}
    reserved = "reserved" if (told.flags or 0) & FLAG_RESERVED else ""
    shown = [f"{name} {relative(time or 0, message.time)}" for name, time in times.items()]
    return [dotted(told.address or 0), status, person(told.hw, told.client_id), *shown, reserved]


def _rejected(message: Message) -> str:
    reason = message.u8(OptionCode.REJECT_REASON)
    if reason is None:
        return ""
    text = message.text(OptionCode.MESSAGE)
    return f"reject {reason} ({RejectReason(reason).words})" + (f": {text}" if text else "")


def _private(message: Message) -> list[str]:
    """What two failoverd tell each other on an authenticated link."""
    found = []
    for code, data in message.options:
        if code == private.NAMES:
            names = private.decode_names(data)
            if names is not None:
                done = [way for way, is_done in (("A", names.forward_done), ("PTR", names.reverse_done)) if is_done]
                found.append(f"name {names.shown or 'none'}, in DNS: {'+'.join(done) or 'nothing'}")
        elif PRIVATE.get(code):
            found.append(f"+{PRIVATE[code]}")
    return found


def lease_line(lease: Lease, wall: int) -> str:
    """What one server holds of one address."""
    text = f"{lease.state.name:<9} {person(lease.hw, lease.client_id):<10}" if lease.hw or lease.client_id else lease.state.name
    times = {"ends": lease.ends, "potential": lease.potential, "acked": lease.acked}
    text += "".join(f"  {name} {relative(time, wall)}" for name, time in times.items() if time)
    for name, time in (("not-before", lease.not_before), ("disputed", lease.disputed)):
        if time:
            text += f"  {name} {relative(time, wall)}"
    return text.rstrip() + ("  owed" if lease.owed else "") + (f"  rejected {lease.rejected}" if lease.rejected else "")

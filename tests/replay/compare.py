"""What our Node said and became, beside what the recorded side said and became, in the same words.

Compared per subject, each subject a sequence:

"states", "partner states"       ours, and what each thought the partner's to be
"handshake N", "dialogue N"      of connection N; a dialogue is STATE, UPDREQ*, UPDDONE, POOLREQ, POOLRESP, DISCONNECT
"BNDUPD N address"               binding status, client, kinds of times
"BNDACK N xid address"           each beside the recorded answer to the same BNDUPD of the partner
"CONTACT N", "connects"          how many on a connection; how often each side tried to connect
"client ..."                     what each message of a client was answered with

Xids, absolute times, texts and vendor class are left out, and what was said while the link was cut: the one side's packets were dropped
before they could be recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from ipaddress import IPv4Address

from failoverd.failover.message import Message, MessageType, OptionCode, RejectReason, ServerFlag, ServerState, binding
from failoverd.failover.reasons import PARTNER_MOVED
from failoverd.leases.lease import BindingState
from failoverd.ports import Send
from tests.replay.place import Place, Played, Said
from tests.replay.recording import Recording

T = MessageType
DIALOGUE = (T.STATE, T.UPDREQ, T.UPDREQALL, T.UPDDONE, T.POOLREQ, T.POOLRESP, T.DISCONNECT)
ABOUT_S = 3  # two times of one kind
MCLT_S = 60
STATES = ("states", "partner states")


@dataclass(slots=True, frozen=True)
class Difference:
    """One item of a subject that only one of the two has, or that both have otherwise. "" for not there. `at`: seconds, of ours or else
    of the recorded one."""

    recording: str
    role: str
    subject: str
    recorded: str
    ours: str
    at: float = 0.0


@dataclass(slots=True)
class Compared:
    """One recording with ours in the place of one side."""

    recording: Recording
    role: str
    recorded_states: list[str]
    played: Played
    equal: int = 0
    recorded_messages: int = 0
    clients: int = 0
    differences: list[Difference] = field(default_factory=list)


Sequence = list[tuple[str, float]]  # what, when
Items = dict[str, Sequence]  # by subject


def compare(
    recording: Recording, role: str, tamper: Callable[[Send], Iterable[Send]] | None = None, until: float | None = None
) -> Compared:
    """Play one side and compare. `until`: seconds of the recording that are played, None for all."""
    played = Place(recording, role, tamper).play(until)
    logged = [each for each in recording.of("log", role) if ": I move from " in each.text and (until is None or each.at <= until)]
    states = [(each.text.rsplit(" to ", 1)[1], each.at) for each in logged]
    result = Compared(recording, role, [state for state, _ in states], played)
    recorded = items(_recorded(recording, role, until), recording, role)
    ours = items(played.said, recording, role)
    recorded["states"], ours["states"] = states, [(state, 0.0) for state in played.states]
    recorded["partner states"], ours["partner states"] = _partner_states(recording, role, played, until)
    tried = {each.stream for each in recording.of("syn", role) if until is None or each.at <= until}
    if len(tried) != len(played.dials):
        result.differences.append(Difference(recording.name, role, "connects", str(len(tried)), str(len(played.dials))))
    for each in played.clients:
        result.clients += 1
        if each.recorded != each.ours and (each.recorded[:3], each.ours[:3]) != ("nak", "nak"):
            words = (each.recorded or "silence", each.ours or "silence")
            result.differences.append(Difference(recording.name, role, f"client {each.asked}", *words, each.at))
    for subject in sorted(recorded.keys() | ours.keys()):
        _diff(result, subject, recorded.get(subject, []), ours.get(subject, []))
    result.recorded_messages = sum(len(each) for subject, each in recorded.items() if subject not in STATES)
    return result


def _partner_states(recording: Recording, role: str, played: Played, until: float | None) -> tuple[Sequence, Sequence]:
    """What each thought the partner's state to be, repeats left out."""
    logged = (e for e in recording.of("log", role) if ": peer moves from " in e.text and (until is None or e.at <= until))
    before = [("normal", 0.0)] if recording.linked else []
    theirs = [*before, *((each.text.rsplit(" to ", 1)[1], each.at) for each in logged)]
    noted = (note for note in played.notes if note.name == PARTNER_MOVED)
    ours = [*before, *((note.detail.split(" -> ")[1], note.wall - recording.start) for note in noted)]
    return _without_repeats(theirs), _without_repeats(ours)


def _without_repeats(states: Sequence) -> Sequence:
    return [each for number, each in enumerate(states) if not number or states[number - 1][0] != each[0]]


def _recorded(recording: Recording, role: str, until: float | None) -> list[Said]:
    """What the recorded side said, without what it said into a cut."""
    cut, said = False, []
    for each in recording.happenings:
        if each.what == "log" and each.by == "events":
            cut = each.text in ("EVENT cut", "EVENT partition") or (cut and each.text not in ("EVENT heal", "EVENT join"))
        elif each.message is not None and each.by == role and not cut and (until is None or each.at <= until):
            said.append(Said(each.at, each.stream, each.message))
    return said


def items(said: list[Said], recording: Recording, role: str) -> Items:
    """What was said, by subject, in words that can be compared."""
    partner = "s" if role == "p" else "p"
    told = {
        (each.stream, each.message.xid): binding(each.message)
        for each in recording.of("message", partner)
        if each.message is not None and each.message.kind == T.BNDUPD
    }
    found: Items = {}
    for each in said:
        message = each.message
        subject, what = f"handshake {each.stream}", MessageType(message.kind).name
        if message.kind in DIALOGUE:
            subject, what = f"dialogue {each.stream}", what + (_state(message) if message.kind == T.STATE else _count(message))
        elif message.kind == T.BNDUPD:
            subject, what = f"BNDUPD {each.stream} {_address(message)}", _update(message, recording.lease_s)
        elif message.kind == T.BNDACK:
            of = told.get((each.stream, message.xid))
            name = f" for {BindingState(of.state).name}" if of is not None and of.state else ""
            subject, what = f"BNDACK {each.stream} {message.xid} {_address(message)}", _verdict(message) + name
        elif message.kind == T.CONTACT:
            subject = f"CONTACT {each.stream}"
        else:
            what += "" if message.u8(OptionCode.REJECT_REASON) is None else f" {_verdict(message)}"
        found.setdefault(subject, []).append((what, each.at))
    return found


def _address(message: Message) -> str:
    return str(IPv4Address(message.u32(OptionCode.ASSIGNED_IP_ADDRESS) or 0))


def _state(message: Message) -> str:
    startup = ", startup" if (message.u8(OptionCode.SERVER_FLAGS) or 0) & ServerFlag.STARTUP else ""
    return " " + ServerState(message.u8(OptionCode.SERVER_STATE) or 0).words + startup


def _count(message: Message) -> str:
    count = message.u32(OptionCode.ADDRESSES_TRANSFERRED)
    return "" if count is None else f" {count}"


def _verdict(message: Message) -> str:
    reason = message.u8(OptionCode.REJECT_REASON)
    return "accept" if reason is None else f"reject {reason} {RejectReason(reason).words}"


def _update(message: Message, lease_s: int) -> str:
    told = binding(message)
    client = (told.hw or b"").hex()[-4:] + ("/" + told.client_id.hex()[-4:] if told.client_id else "")
    words = [BindingState(told.state or 0).name, client or "-"]
    if told.state == BindingState.ACTIVE:
        granted = (told.ends or 0) - (told.starts or 0)
        words.append("lease " + _kind(granted, {"full": lease_s, "mclt": MCLT_S}))
        words.append("potential " + _kind((told.potential or 0) - (told.starts or 0), {"full": granted // 2 + lease_s}))
    else:
        words += [name for name, value in (("end", told.ends), ("potential", told.potential)) if value]
    return " ".join(words)


def _kind(value: int, kinds: dict[str, int]) -> str:
    return next((name for name, each in kinds.items() if abs(value - each) <= ABOUT_S), str(value))


def _diff(result: Compared, subject: str, recorded: Sequence, ours: Sequence) -> None:
    """Add what differs in one subject."""
    matcher = SequenceMatcher(None, [what for what, _ in recorded], [what for what, _ in ours], autojunk=False)
    for tag, first, last, begin, end in matcher.get_opcodes():
        if tag == "equal":
            result.equal += (last - first) if subject not in STATES else 0
            continue
        for number in range(max(last - first, end - begin)):
            theirs, mine = recorded[first:last][number : number + 1], ours[begin:end][number : number + 1]
            at = (mine or theirs)[0][1]
            words = [each[0][0] if each else "" for each in (theirs, mine)]
            result.differences.append(Difference(result.recording.name, result.role, subject, words[0], words[1], at))

"""Recordings of two dhcpd, with ours in the place of either: the same states, equivalent messages, every difference with a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from random import Random

import pytest

from failoverd.failover import links, states
from failoverd.failover.message import Message, MessageType, OptionCode, ServerState, decode, encode
from failoverd.ports import ClientSend, LinkConnect, LinkSend, Send
from tests.replay import report
from tests.replay.compare import Compared, compare, items
from tests.replay.place import Said
from tests.replay.recording import recordings
from tests.replay.rules import RULES, UNNAMED, Rule, named

T, Code = MessageType, OptionCode
played = cache(report.row)
Tamper = Callable[[Send], Iterable[Send]]


@pytest.mark.parametrize(("name", "role"), report.plays())
def test_every_difference_has_a_name(name: str, role: str) -> None:
    assert played(name, role).faults == ()


@pytest.mark.parametrize(("name", "role"), report.plays())
def test_the_states_are_the_recorded_ones(name: str, role: str) -> None:
    row = played(name, role)
    if "recover-wait-from-last-operation" in row.differences:
        assert row.compared.played.states == ["startup", "recover", "recover-wait"]  # safety.md 14
        return
    if "recover-wait-rounded-up" in row.differences:
        assert [*row.compared.played.states, "normal"] == row.compared.recorded_states
        return
    assert row.compared.played.states == row.compared.recorded_states


def test_every_capture_of_the_failover_is_played() -> None:
    assert " ".join(sorted({name.split("-")[0] for name, _ in report.plays()})) == "1 12 1b 1c 2 3 4 4b 4c 5 5b 6 7a 7b 7d 8"
    assert len(report.plays()) == 2 * 16 - 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_rule_is_left_over(rule: Rule) -> None:
    """A difference that is gone takes its rule along."""
    assert any(rule.name in played(name, role).differences for name, role in report.plays())


def test_most_is_equal() -> None:
    """The rules name exceptions: nine of ten messages are the recorded ones."""
    rows = [played(name, role) for name, role in report.plays()]
    assert sum(row.compared.equal for row in rows) > 0.9 * sum(row.compared.recorded_messages for row in rows)


def test_the_table_shows_each_replay_and_each_reason() -> None:
    rows = [played(name, role) for name, role in report.plays()]
    text = report.markdown(rows)
    assert all(f"| {name} | {'primary' if role == 'p' else 'secondary'} |" in text for name, role in report.plays())
    assert all(rule.reason in text for rule in RULES)
    assert "Without a name" not in text


# --- what is planted is found ----------------------------------------------------------------------------------------------


def unnamed(recording: str, role: str, tamper: Tamper | None = None) -> list[str]:
    """The subjects of the differences without a name."""
    found: Compared = compare(recordings()[recording], role, tamper)
    return [each.subject for each in named(found).get(UNNAMED, ())]


def dropped(kind: MessageType, every: bool = False) -> Tamper:
    """The first message of a kind, or every one, never leaves."""
    gone: list[Send] = []

    def tamper(send: Send) -> Iterable[Send]:
        if isinstance(send, LinkSend) and decode(send.data).kind == kind and (every or not gone):
            gone.append(send)
            return ()
        return (send,)

    return tamper


def changed(kind: MessageType, change: Callable[[Message], None]) -> Tamper:
    """The first message of a kind that `change` changes leaves so."""
    done: list[Send] = []

    def tamper(send: Send) -> Iterable[Send]:
        if not isinstance(send, LinkSend) or done or decode(send.data).kind != kind:
            return (send,)
        message = decode(send.data)
        change(message)
        other = replace(send, data=encode(message))
        done.extend([] if other == send else [send])
        return (other,)

    return tamper


def put(code: OptionCode, value: int, size: int) -> Callable[[Message], None]:
    """Set one option."""

    def change(message: Message) -> None:
        message.options = [pair for pair in message.options if pair[0] != code] + [(code, value.to_bytes(size, "big"))]

    return change


def accept(message: Message) -> None:
    """A refusal becomes its opposite."""
    message.options = [pair for pair in message.options if pair[0] not in (Code.REJECT_REASON, Code.MESSAGE)]


PLANTS = [
    ("2-lease-life", "p", dropped(T.BNDACK), "BNDACK"),
    ("2-lease-life", "p", changed(T.BNDACK, put(Code.REJECT_REASON, 2, 1)), "BNDACK"),
    ("1-first-contact", "p", changed(T.BNDACK, accept), "BNDACK"),
    ("2-lease-life", "s", dropped(T.BNDUPD), "BNDUPD"),
    ("2-lease-life", "s", changed(T.BNDUPD, put(Code.BINDING_STATUS, 3, 1)), "BNDUPD"),
    ("2-lease-life", "s", changed(T.BNDUPD, put(Code.POTENTIAL_EXPIRATION_TIME, 5, 4)), "BNDUPD"),
    ("2-lease-life", "s", changed(T.BNDUPD, put(Code.CLIENT_HARDWARE_ADDRESS, 0x0102A200000077, 7)), "BNDUPD"),
    ("3-kill9-secondary", "p", changed(T.STATE, put(Code.SERVER_STATE, ServerState.PARTNER_DOWN, 1)), "dialogue"),
    ("3-kill9-secondary", "p", changed(T.STATE, put(Code.SERVER_FLAGS, 1, 1)), "dialogue"),
    ("4-partner-down", "p", dropped(T.UPDDONE), "dialogue"),
    ("8-rebalance", "s", dropped(T.POOLRESP), "dialogue"),
    ("5b-link-cut-long", "s", dropped(T.CONNECTACK), "handshake"),
    ("7b-clock-skew-120s", "s", changed(T.CONNECTACK, accept), "handshake"),
    ("7a-wrong-relationship-name", "s", changed(T.CONNECTACK, put(Code.REJECT_REASON, 4, 1)), "handshake"),
    ("3-kill9-secondary", "p", dropped(T.CONTACT, every=True), "CONTACT"),
    ("5b-link-cut-long", "p", lambda send: () if isinstance(send, LinkConnect) else (send,), "connects"),
    ("6-potential-conflict", "s", lambda send: () if isinstance(send, ClientSend) else (send,), "client"),
]


@pytest.mark.parametrize(("recording", "role", "tamper", "subject"), PLANTS)
def test_a_planted_wrong_message_is_found(recording: str, role: str, tamper: Tamper, subject: str) -> None:
    assert any(each.startswith(subject) for each in unnamed(recording, role, tamper))


def silenced(unsaid: Said) -> Tamper:
    """This message never leaves."""

    def tamper(send: Send) -> Iterable[Send]:
        gone = isinstance(send, LinkSend) and (send.link, send.data) == (unsaid.stream, encode(unsaid.message))
        return () if gone else (send,)

    return tamper


@pytest.mark.parametrize(("name", "role"), report.plays())
def test_a_message_that_is_not_said_is_found(name: str, role: str) -> None:
    """One of each run, of those that dhcpd said, too; a BNDUPD is told again, and CONTACTs are counted otherwise."""
    row = played(name, role)
    ours_alone = {each.subject for each in row.compared.differences if not each.recorded}
    said = row.compared.played.said
    kinds = (T.CONNECT, T.CONNECTACK, T.STATE, T.BNDACK, T.UPDREQALL, T.UPDDONE)
    may = [each for each in said if each.message.kind in kinds]
    may = [each for each in may if not set(items([each], recordings()[name], role)) & ours_alone]
    compared = compare(recordings()[name], role, silenced(Random(f"{name} {role}").choice(may)))
    assert report.faults(compared, named(compared))


def test_a_planted_wrong_state_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not unnamed("3-kill9-secondary", "p")
    monkeypatch.setattr(states, "on_loss", lambda state, saved: ServerState.PARTNER_DOWN)
    assert "states" in unnamed("3-kill9-secondary", "p")


def test_a_planted_wrong_belief_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    known = states.peer_state
    monkeypatch.setattr(states, "peer_state", lambda code: ServerState.NORMAL if code == ServerState.RECOVER_DONE else known(code))
    assert "partner states" in unnamed("4-partner-down", "p")


def test_a_slow_retry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failoverd.failover.endpoint.RETRY_S", 10 * links.RETRY_S)
    assert unnamed("5b-link-cut-long", "p") == ["connects"]


def test_a_server_that_hands_no_address_over_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failoverd.failover.pool_transfer.PoolTransfer._hand_over", lambda *_: 0)
    assert report.row("8-rebalance", "s").faults
    assert report.row("12-all-protocols", "p").faults

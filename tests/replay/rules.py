"""Why our Node says something else than the recorded dhcpd did: each difference has a name and a reason, or it is a mistake.

Rules are tried in order; the first that applies names the difference. One that no recording needs any more fails a test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from failoverd.failover.message import MessageType
from failoverd.leases.lease import BindingState
from tests.replay.compare import ABOUT_S, Compared, Difference
from tests.replay.facts import Facts

AT_ONCE_S = 0.1
REPEATED_S = 10.0
BATCH_S = 2.1  # dhcpd sends its BNDACKs after 2 s, or when half of the window waits
CONTACT_S = 3.1  # a third of max-response-delay
OFFERED_S = 60.0  # dhcpd moves the end of an offered address to 120 s from now
RETRIED_S = 2.0 + 2.0 * 1.25 + 0.1


@dataclass(slots=True, frozen=True)
class Rule:
    """`applies`: whether a difference is this one."""

    name: str
    reason: str
    applies: Callable[[Difference, Facts], bool]


def _address(difference: Difference) -> str:
    return difference.subject.split()[-1]


def _update(difference: Difference) -> bool:
    return difference.subject.startswith("BNDUPD ")


def _dialogue(difference: Difference) -> bool:
    return difference.subject.startswith("dialogue ")


def _client(difference: Difference) -> bool:
    return difference.subject.startswith("client ")


def _status(text: str) -> str:
    return text.split(" ", maxsplit=1)[0]


def _updreqall_once(d: Difference, facts: Facts) -> bool:
    return _dialogue(d) and (d.recorded, d.ours) == ("UPDREQALL", "") and facts.said(d.subject, MessageType.UPDREQALL) == 1


def _asks_first(d: Difference, facts: Facts) -> bool:
    conflict = facts.role == "s" and facts.been("potential-conflict")
    return conflict and _dialogue(d) and {d.recorded, d.ours} == {"UPDREQ", ""} and facts.said(d.subject, MessageType.UPDREQ) == 1


def _poolreq(d: Difference, facts: Facts) -> bool:
    return _dialogue(d) and (d.recorded, d.ours) == ("", "POOLREQ") and facts.logged("peer holds all free leases")


def _stop(d: Difference, facts: Facts) -> bool:
    return _dialogue(d) and (d.recorded, d.ours) == ("", "DISCONNECT") and facts.signalled()


def _told_why(d: Difference, facts: Facts) -> bool:
    reasons = ("CONNECTACK reject 7 duplicate connection", "CONNECTACK reject 5 invalid mclt")
    return d.subject.startswith("handshake") and not d.recorded and d.ours in reasons


def _connects(d: Difference, facts: Facts) -> bool:
    """Another number of attempts; while there is no link never later than 2 s (timeout) and 2.5 s (retry) after the last."""
    if d.subject != "connects" or int(d.ours) < int(d.recorded):
        return False
    return all(gap <= RETRIED_S for gap in facts.unlinked_gaps())


def _contact(d: Difference, facts: Facts) -> bool:
    """Another number of them, but never silent for longer than a third of max-response-delay."""
    if not d.subject.startswith("CONTACT"):
        return False
    for recorded, ours in facts.streams_of(d):
        gaps = [later - earlier for earlier, later in pairwise(ours)]
        end = recorded[-1] if recorded else 0.0
        return bool(ours) and max(gaps, default=0.0) <= CONTACT_S and end - ours[-1] <= CONTACT_S
    return False


def _recover_wait(d: Difference, facts: Facts) -> bool:
    """Everything from the first such state on: the recorded partner went on with a server that was there at once."""
    waits = "recover-wait" in facts.compared.played.states and "recover-wait" not in facts.compared.recorded_states
    if not waits:
        return False
    since = min((each.at for each in facts.compared.differences if each.ours == "STATE recover-wait"), default=float("inf"))
    told = (d.recorded, d.ours) in {("STATE recover-done", "STATE recover-wait"), ("STATE normal", "")}
    return d.subject == "states" or (d.at >= since and ((_dialogue(d) and told) or (_update(d) and not d.ours)))


def _recover_wait_rounded(d: Difference, facts: Facts) -> bool:
    """The last step of the recording: its partner said normal at once, when ours had a second to wait."""
    recorded, played = facts.compared.recorded_states, facts.compared.played.states
    if recorded[-3:] != ["recover-wait", "recover-done", "normal"] or played != recorded[:-1]:
        return False
    return d.subject == "states" or (_dialogue(d) and (d.recorded, d.ours) == ("STATE normal", ""))


def _next_address(d: Difference, facts: Facts) -> bool:
    """The ping of the address that it was to get was answered, or had been: then dhcpd had pinged that, or the next."""
    return _client(d) and d.recorded == "silence" and d.ours.startswith("offer") and facts.abandoned_at(d.at)


def _no_batch(d: Difference, facts: Facts) -> bool:
    late = d.subject.startswith("BNDACK") and not d.recorded and d.ours.startswith("accept")
    return late and facts.ends_after(d.at) <= BATCH_S


def _abandoned(d: Difference, facts: Facts) -> bool:
    address = _address(d)
    both = facts.told_by("p", address) + facts.told_by("s", address)
    mine = _status(d.ours) == "FREE" and not d.recorded if facts.role == "p" else _status(d.recorded) == "FREE" and not d.ours
    return _update(d) and mine and any(told.status is BindingState.ABANDONED for told in both)


def _declined(d: Difference, facts: Facts) -> bool:
    if not _update(d) or _status(d.recorded) != "ABANDONED" or d.ours:
        return False
    return any(
        told.status is BindingState.ABANDONED and abs(told.at - d.at) < 0.01 for told in facts.told_by(facts.partner, _address(d))
    )


def _still_expired(d: Difference, facts: Facts) -> bool:
    alone = facts.been("partner-down") and _update(d)
    return alone and _status(d.recorded) == "FREE" and _status(d.ours) == "EXPIRED" and d.recorded[4:] == d.ours[7:]


def _refused_there(d: Difference, facts: Facts) -> bool:
    again = _update(d) and not d.ours and _status(d.recorded) in ("FREE", "BACKUP")
    return again and facts.rejected(facts.role, _address(d))


def _after_expired(d: Difference, facts: Facts) -> bool:
    if not _update(d) or d.ours or _status(d.recorded) not in ("FREE", "BACKUP") or not facts.been("partner-down"):
        return False
    return any(told.status is BindingState.EXPIRED for told in facts.told_by_us(_address(d)))


def _newest_potential(d: Difference, facts: Facts) -> bool:
    """The same but for a potential expiry that dhcpd has from before the lease."""
    theirs, _, potential = d.recorded.rpartition(" ")
    ours, _, full = d.ours.rpartition(" ")
    return _update(d) and theirs == ours and full == "full" and potential.lstrip("-").isdigit() and int(potential) <= 0


def _offered(d: Difference, facts: Facts) -> bool:
    """dhcpd gave away what it had just offered."""
    if not _update(d) or d.ours or _status(d.recorded) not in ("FREE", "BACKUP"):
        return False
    return any(
        told.end - told.at > OFFERED_S for told in facts.told_by(facts.role, _address(d)) if told.status.name == _status(d.recorded)
    )


def _hears_first(d: Difference, facts: Facts) -> bool:
    """The partner's word on the address came before ours could leave, on a new connection."""
    if not _update(d) or not 0 <= d.at - facts.opened(d.subject) < 1.0 or _status(d.recorded) != "RELEASED" or d.ours:
        return False
    return any(0 <= told.at - d.at < 1.0 for told in facts.told_by(facts.partner, _address(d)))


def _conflict(d: Difference, facts: Facts) -> bool:
    """Our primary refused the claim, so it told and renewed its own client."""
    if _client(d) and d.recorded.startswith("nak") and d.ours.startswith("ack"):
        return facts.noted("binding-update-refused", _address(d))
    told = d.ours.startswith("reject 15") if d.subject.startswith("BNDACK") else _update(d) and d.ours != ""
    return told and facts.role == "p" and facts.noted("binding-update-refused", _address(d))


def _echo(d: Difference, facts: Facts) -> bool:
    """dhcpd told its partner nothing newer than what the partner had told it."""
    if not _update(d) or d.ours:
        return False
    theirs = facts.told_by(facts.partner, _address(d))
    mine = facts.told_by(facts.role, _address(d))
    echoes = [one for one in mine if any(two.at < one.at and one.like(two) and one.end <= two.end + ABOUT_S for two in theirs)]
    left_out = [each for each in facts.compared.differences if each.subject == d.subject and not each.ours]
    return len(left_out) <= len(echoes) and any(told.status.name == _status(d.recorded) for told in echoes)


def _before_the_kill(d: Difference, facts: Facts) -> bool:
    told = _update(d) and not d.recorded
    acked = _client(d) and d.recorded == "silence" and d.ours.startswith("ack")
    return (told or acked) and facts.killed_after(d.at) < AT_ONCE_S


def _repeats(d: Difference, facts: Facts) -> bool:
    """Asked again, without an answer before, and left to the partner by dhcpd."""
    if not _client(d) or d.recorded != "silence" or not d.ours.startswith("offer"):
        return False
    asked = (each for each in facts.compared.played.clients if f"client {each.asked}" == d.subject)
    return any(0 < d.at - each.at < REPEATED_S and not each.ours for each in asked)


def _granted_there(d: Difference, facts: Facts) -> bool:
    """The partner's word that it granted the address to this client came just before the client's message was read."""
    if not _client(d) or d.recorded != "silence" or not d.ours.startswith("offer"):
        return False
    told = facts.told_by(facts.partner, d.ours.split(" ")[1])
    mac = int(d.subject.split(" ")[1], 16)
    return any(0 <= d.at - each.at < AT_ONCE_S and each.status is BindingState.ACTIVE and each.client[-1] == mac for each in told)


def _no_collision(d: Difference, facts: Facts) -> bool:
    if not d.subject.startswith("BNDACK") or not d.recorded.startswith("reject 16") or not d.ours.startswith("accept"):
        return False
    crossed = [told for told in facts.told_by(facts.role, _address(d)) if 0 <= d.at - told.at < BATCH_S]
    ours = [told for told in facts.told_by_us(_address(d)) if 0 <= d.at - told.at < BATCH_S]
    return bool(crossed) and not ours


def _balance(d: Difference, facts: Facts) -> bool:
    """A free address that changes hands; how many do is checked, too (`unbalanced`)."""
    given = "BACKUP" if facts.role == "p" else "FREE"
    if _dialogue(d):
        return d.recorded.startswith("POOLRESP") and d.ours.startswith("POOLRESP")
    if not _update(d) or {_status(d.recorded), _status(d.ours)} - {"FREE", "BACKUP", ""}:
        return False
    told = (facts.told_by_us if d.ours.startswith(given) else lambda address: facts.told_by(facts.role, address))(_address(d))
    return any(each.handed and each.status.name == given for each in told)


RULES = (
    Rule("updreqall-once", "UPDREQALL is asked once. dhcpd asks twice, and drops its partner's first.", _updreqall_once),
    Rule(
        "asks-first-as-secondary",
        "As secondary of a dhcpd it asks UPDREQ on entering potential-conflict, so that it can judge (safety 20). dhcpd asks after"
        " conflict-done.",
        _asks_first,
    ),
    Rule(
        "poolreq-earlier",
        "POOLREQ at the moment a client is refused for lack of own addresses. dhcpd waits for its rebalance timer.",
        _poolreq,
    ),
    Rule("disconnect-on-stop", "A planned stop says DISCONNECT with its reason. dhcpd just goes.", _stop),
    Rule(
        "refused-with-a-reason",
        "A duplicate connection and a CONNECT without MCLT are refused with a CONNECTACK that arrives. dhcpd's is lost in its"
        " forced close.",
        _told_why,
    ),
    Rule(
        "connects-within-2s",
        "A connect is given up after 2 s and tried again after 2 s with jitter. dhcpd tries every 5 s, and waits for more than a minute on"
        " one kernel connect. (The recorded connection is up when it was, however often ours tried.)",
        _connects,
    ),
    Rule(
        "contact-timing",
        "Another number of CONTACTs: they fill silences of 3 s, and what else is said, and when, differs. Never silent for longer.",
        _contact,
    ),
    Rule(
        "recover-wait-from-last-operation",
        "Recover-wait ends MCLT after the last moment at which it may have granted anything (safety 14). dhcpd counts from the start of its"
        " last state and skips the wait; the recorded partner went on with a server that was there at once.",
        _recover_wait,
    ),
    Rule(
        "recover-wait-rounded-up",
        "Stamps are whole seconds, rounded down, so recover-wait lasts a second longer than MCLT. The recorded partner said normal in that"
        " second, to a server that was there at once.",
        _recover_wait_rounded,
    ),
    Rule(
        "next-address-at-once",
        "A client whose address answers a ping is offered another at once. dhcpd abandons the address and leaves the client to ask again.",
        _next_address,
    ),
    Rule(
        "no-2s-ack-batch",
        "BNDACK at once after the commit. dhcpd gathers its acks for 2 s; it was killed, or the recording ended, before.",
        _no_batch,
    ),
    Rule(
        "told-before-the-kill",
        "DHCPACK and BNDUPD at once after the commit. dhcpd was killed with them still to send, and told the lease when it was back.",
        _before_the_kill,
    ),
    Rule(
        "abandoned-freed-by-primary",
        "The end of an abandoned address's rest is told by the primary alone. dhcpd: by whichever timer fires first, here the secondary's.",
        _abandoned,
    ),
    Rule(
        "declined-once",
        "The partner's ABANDONED came first, so there is nothing to tell. dhcpd: both report the broadcast DECLINE, one is"
        " refused with 16.",
        _declined,
    ),
    Rule(
        "expired-until-wait-is-over",
        "In partner-down an ended lease stays EXPIRED for MCLT beyond every potential expiry (safety 12). dhcpd frees it at its end, and"
        " its partner refuses active to free.",
        _still_expired,
    ),
    Rule(
        "told-once-and-taken", "dhcpd's update was refused and told again; ours, EXPIRED, was taken the first time.", _refused_there
    ),
    Rule(
        "offered-not-handed-over", "What was just offered is not handed to the partner (safety 6). dhcpd gives it away.", _offered
    ),
    Rule(
        "nothing-after-expired",
        "An acked EXPIRED is FREE on both (6.3 step 11), so FREE is not told; and as the partner came back through recover, the address"
        " rests and is not handed over (safety 15).",
        _after_expired,
    ),
    Rule(
        "newest-potential-told",
        "The newest potential expiry known is told. dhcpd tells what it itself promised last, from before the partner's grant.",
        _newest_potential,
    ),
    Rule(
        "cltt-compared-in-conflict",
        "The newer client-last-transaction-time wins, an equal one is the primary's (safety 19). dhcpd takes the secondary's, always. The"
        " winner is told, renewed, and told again.",
        _conflict,
    ),
    Rule(
        "hears-first",
        "After a time apart our updates to a dhcpd wait for its own (6.3, 6.4). The recorded one spoke of this address meanwhile (in answer"
        " to dhcpd's own update), so there is nothing left to tell.",
        _hears_first,
    ),
    Rule(
        "repeats-count",
        "A client that asks again is answered also when its secs stays 0. dhcpd leaves it to its partner as long as secs is low.",
        _repeats,
    ),
    Rule(
        "granted-there",
        "The partner had just told that it granted the client an address, and that is offered. dhcpd had not read it yet.",
        _granted_there,
    ),
    Rule("no-collision", "dhcpd refused with 16 what crossed an update of its own; we had none under way.", _no_collision),
    Rule(
        "no-echo",
        "What the partner told is not told back to it. dhcpd does so on entry to normal and in answer to UPDREQ.",
        _echo,
    ),
    Rule(
        "balance-choice",
        "Which free addresses change hands, and when within 4 random seconds, is not defined (8.1, 8.4); as many do, give or take a tenth"
        " of the pool.",
        _balance,
    ),
)
UNNAMED = "UNNAMED"
OTHERS_FREE = frozenset({"expired-until-wait-is-over", "nothing-after-expired"})
"""Where other addresses are free than at dhcpd."""


def name_of(difference: Difference, facts: Facts) -> str:
    """The name of the first rule that applies, UNNAMED for none."""
    return next((rule.name for rule in RULES if rule.applies(difference, facts)), UNNAMED)


def unbalanced(compared: Compared) -> int:
    """How many addresses too many or too few were handed over: as many as dhcpd did, or a tenth of the pool more or less where the two do
    not count the same ones as free."""
    facts = Facts(compared)
    names = {each: name_of(each, facts) for each in compared.differences}
    given = "BACKUP" if compared.role == "p" else "FREE"
    found = [each for each, name in names.items() if name == "balance-choice" and _update(each)]
    ours, recorded = (sum(_status(getattr(each, side)) == given for each in found) for side in ("ours", "recorded"))
    slack = compared.recording.size // 10 if OTHERS_FREE & set(names.values()) else 0
    return max(abs(ours - recorded) - slack, 0)


def named(compared: Compared) -> dict[str, list[Difference]]:
    """The differences of one run by name, in the order of the rules; UNNAMED last."""
    facts = Facts(compared)
    found: dict[str, list[Difference]] = {name: [] for name in (*(rule.name for rule in RULES), UNNAMED)}
    for each in compared.differences:
        found[name_of(each, facts)].append(each)
    return {name: each for name, each in found.items() if each}

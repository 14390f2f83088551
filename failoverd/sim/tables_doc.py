"""`python -m failoverd.sim.tables_doc`: the failover tables as Markdown, made from the code that obeys them (docs/failover-tables.md).

dhcpd's side comes from dhcpd_tables.py, ours from the rooms; a cell in which they differ shows both, whom we follow, and why.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from failoverd.failover import balance, epochs, hashing, states
from failoverd.failover import balance_table as pools
from failoverd.failover.message import ServerState
from failoverd.failover.states import Action, Cell, Peer
from failoverd.leases import binding
from failoverd.leases import binding_reasons as why
from failoverd.leases.allocate import refusal
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.rights import Rights
from failoverd.sim import dhcpd_tables as dhcpd
from failoverd.sim.dhcpd_tables import Act

S = ServerState
NOW, MCLT_S, WAIT_S = 1_000_000, 600, 3_000
ACTING = tuple(state for state in S if state not in (S.UNKNOWN, S.STARTUP))
SHORT = {state: short for short, state in dhcpd.SHORT.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def ours(cell: Cell) -> str:
    """Our cell, short."""
    if cell.next is not None:
        return ("push, then " if cell.action is Action.PUSH_MOVE else "") + SHORT[cell.next]
    plain = {Action.STAY: "-", Action.REFUSE: "drop the link", Action.UPDREQALL: "UPDREQALL", Action.UPDREQ: "UPDREQ"}
    return plain[cell.action]


def theirs(cell: dhcpd.Cell) -> str:
    """dhcpd's cell, short."""
    if cell.to is not None:
        return ("push, then " if cell.act is Act.PUSH_MOVE else "") + SHORT[cell.to]
    return {Act.STAY: "-", Act.EXIT: "exit", Act.ASK_ALL: "UPDREQALL", Act.ASK: "UPDREQ"}[cell.act]


def _differs(me: ServerState, peer: ServerState) -> bool:
    return ours(states.ON_STATE[me, peer]) != theirs(dhcpd.ON_STATE[me, peer])


def state_matrix() -> list[str]:
    """5.4, and the reasons of each cell."""
    out = [
        "## On a STATE of the partner",
        "",
        "Rows: our state (the saved one while starting). **Bold**: dhcpd does otherwise, see below.",
    ]
    out += ["", ", ".join(f"{SHORT[state]} {state.words}" for state in ACTING) + ".", ""]
    rows = []
    for me in ACTING:
        cells = [ours(states.ON_STATE[me, peer]) for peer in ACTING]
        marked = [f"**{text}**" if _differs(me, peer) else text for text, peer in zip(cells, ACTING, strict=True)]
        rows.append([f"**{SHORT[me]}**", *marked, ours(states.ON_STATE[me, None])])
    out += table(["we \\ partner", *(SHORT[peer] for peer in ACTING), "no such state"], rows)
    out += ["### Why", ""]
    reasons = []
    for me in ACTING:
        for peer in ACTING:
            cell = states.ON_STATE[me, peer]
            both = f"{ours(cell)}; dhcpd: {theirs(dhcpd.ON_STATE[me, peer])}" if _differs(me, peer) else ours(cell)
            reasons.append([SHORT[me], SHORT[peer], both, cell.follows, cell.why])
    out += table(["we", "partner", "what we do", "follows", "why"], reasons)
    out += ["While starting, where it differs from the saved state's row:", ""]
    out += table(["saved", "partner", "what we do", "why"], differing(states.FROM_STARTUP))
    out += ["", "Towards another failoverd, where it differs:", ""]
    return out + table(["we", "partner", "what we do", "why"], differing(states.AT_A_FAILOVERD))


def differing(cells: dict[tuple[ServerState, Peer], Cell]) -> list[list[str]]:
    """Cells that stand in the place of a row's, as lines of a table."""
    return [[SHORT[me], SHORT[peer] if peer is not None else "", ours(cell), cell.why] for (me, peer), cell in cells.items()]


def epoch_table() -> list[str]:
    """safety.md 17."""
    out = ["### Which of two failoverd recovers after a partner-down", ""]
    out += [
        "Each partner-down raises a server's epoch; when both are in normal they agree on the newest. Over TLS they tell each other",
        "both, and where the partner is in PD, and our state is or was saved as N or CI, this table stands in the place of the cell",
        "above. *Granted*: something here ends after the partner could first have used the address, had it gone to partner-down",
        "right after the last contact.",
        "",
    ]
    rows = []
    for (whose, granted), cell in epochs.DECIDES.items():
        rows.append([whose.value, "yes" if granted else "no", cell.then.value, cell.why])
    return out + table(["raised since they agreed", "granted", "what we do", "why"], rows)


def other_tables() -> list[str]:
    """5.1, 5.2, 5.3, 5.5, 5.6."""
    out = ["## Loss of communication, entry, service", ""]
    rows = []
    for me in S:
        loss, entry = states.ON_LOSS[me], states.ON_ENTRY[me]
        service = dhcpd.SERVES.get(me, "nobody")
        rows.append([me.words, "stays" if loss is me else loss.words, entry.value, states.SERVICE[me].value, service])
    out += table(["state", "when the link is lost", "on entry", "serves", "dhcpd serves"], rows)
    muted = ", ".join(sorted(state.words for state in states.MUTED_BY_PEER))
    out += [
        f"In normal and communications-interrupted a partner recorded in {muted} silences us. In partner-down dhcpd is silenced, too; we"
    ]
    out += ["are not: partner-down is the operator's word that the record is void.", "", "## On an UPDDONE that we asked for", ""]
    done = []
    for (me, primary, conflict_done), cell in states.ON_UPDDONE.items():
        if cell.next is None and cell.action is Action.STAY:
            continue
        partner = "conflict-done" if conflict_done else "any other"
        isc = theirs(dhcpd.upddone(me, S.CONFLICT_DONE if conflict_done else S.POTENTIAL_CONFLICT, primary))
        isc = "RW, or RD when its wait is over" if me is S.RECOVER else isc
        done.append([me.words, "primary" if primary else "secondary", partner, ours(cell), isc, cell.why])
    out += table(["state", "we are", "partner in", "what we do", "dhcpd", "why"], done)
    return [*out, "In every other state it is ignored.", ""]


def binding_tables() -> list[str]:
    """6.3 and 6.4."""
    out = ["## Whether a BNDUPD is taken", "", "Rows: our binding. Columns: the message's. Reject 2 is `fatal conflict`.", ""]
    for title, normal, primary in (
        ("as primary in normal", True, True),
        ("as secondary in normal", True, False),
        ("in every other state", False, True),
    ):
        rows = []
        for local in BindingState:
            cells = []
            for told in BindingState:
                rule = binding.IN_NORMAL[primary, local, told] if normal else binding.OTHERWISE[local, told]
                isc = dhcpd.takes(normal, primary, local, told)
                same = rule.value.split(" lies")[0] == isc.value.split(" lies")[0] or rule is binding.Rule.UNLESS_END
                cells.append(rule.value if same else f"**{rule.value}**; dhcpd: {isc.value}")
            rows.append([local.name, *cells])
        out += [f"### {title}", "", *table(["we \\ message", *(told.name for told in BindingState)], rows)]
        out += _acceptance_reasons(normal, primary)
    out += ["dhcpd's `lies ahead` for an end means by more than 65 s; ours by more than the clocks differ, 65 s at most."]
    out += ["", "### While an update of ours for the address is un-acked", ""]
    rows = []
    for local in BindingState:
        cells = []
        for told in BindingState:
            winner = binding.DUEL[local, told]
            wins = [dhcpd.ours_is_better(local, 1, told, cltt, primary) for cltt in (0, 1, 2) for primary in (True, False)]
            mine = [_we_win(winner, cltt, primary) for cltt in (0, 1, 2) for primary in (True, False)]
            cells.append(winner.value if wins == mine else f"**{winner.value}**; dhcpd: {_who(wins)}")
        rows.append([local.name, *cells])
    out += table(["we announced \\ message", *(told.name for told in BindingState)], rows)
    out += ["The draft has no such table; its 7.1.3 would judge such an update as any other.", ""]
    reasons = [
        [local.name, told.name, binding.DUEL[local, told].value, _wins_at_dhcpd(local, told), why.DRAFT[local, told].value, *reason]
        for (local, told), reason in why.DUEL_WHY.items()
    ]
    return out + table(_REASON_HEAD, _joined(reasons))


_REASON_HEAD = ("we", "message", "what we do", "dhcpd", "draft-12 7.1.3", "follows", "why")


def _acceptance_reasons(normal: bool, primary: bool) -> list[str]:
    """The cells of one table of 6.3 that differ from dhcpd's or the draft's."""
    rows = []
    for local in BindingState:
        for told in BindingState:
            reason = why.IN_NORMAL_WHY.get((primary, local, told)) if normal else why.OTHERWISE_WHY.get((local, told))
            rule = binding.IN_NORMAL[primary, local, told] if normal else binding.OTHERWISE[local, told]
            if reason is not None:
                isc = dhcpd.takes(normal, primary, local, told)
                rows.append([local.name, told.name, rule.value, isc.value, why.DRAFT[local, told].value, *reason])
    return ["Where dhcpd or the draft differs:", "", *table(_REASON_HEAD, _joined(rows))]


def _joined(rows: list[list[str]]) -> list[list[str]]:
    """Rows of one binding that differ in the message only are one row."""
    found: dict[tuple[str, ...], list[str]] = {}
    for mine, told, *rest in rows:
        found.setdefault((mine, *rest), []).append(told)
    return [[mine, ", ".join(told), *rest] for (mine, *rest), told in found.items()]


def _wins_at_dhcpd(local: BindingState, told: BindingState) -> str:
    if local is told is BindingState.ACTIVE:
        return binding.Winner.LATER_CLTT.value
    return _who([dhcpd.ours_is_better(local, 1, told, cltt, primary) for cltt in (0, 1, 2) for primary in (True, False)])


def _we_win(winner: binding.Winner, cltt: int, primary: bool) -> bool:
    if winner is binding.Winner.LATER_CLTT:
        return cltt < 1 or (cltt == 1 and primary)
    return winner is binding.Winner.OURS or (winner is binding.Winner.PRIMARY and primary)


def _who(wins: list[bool]) -> str:
    if wins == [True, False] * 3:
        return "the primary's"
    return "ours" if all(wins) else "theirs"


def allocation() -> list[str]:
    """7.2, asked of the function that decides."""
    out = [
        "## Who may give an address to a client",
        "",
        "Asked of the code: yes, or the reason. The address was used before and is not owed.",
    ]
    situations: list[tuple[str, bool, dict[str, int | bool | None]]] = []
    for primary in (True, False):
        who = "primary" if primary else "secondary"
        situations += [
            (f"{who}, normal", primary, {"balanced": True}),
            (f"{who}, interrupted", primary, {"rewind": True}),
            (f"{who}, partner-down, waiting", primary, {"rewind": True, "partner_down_since": NOW}),
            (f"{who}, partner-down, waited", primary, {"rewind": True, "partner_down_since": NOW - WAIT_S}),
        ]
    for title, same in (("another client than its last", False), ("its last client", True)):
        rows = []
        for state in BindingState:
            cells = []
            for _, primary, more in situations:
                own = BindingState.FREE if primary else BindingState.BACKUP
                rights = Rights(True, primary=primary, own=own, mclt_s=MCLT_S, wait_mclt_s=MCLT_S, **more)  # type: ignore[arg-type]
                rewind = BindingState.ACTIVE if state not in (BindingState.FREE, BindingState.BACKUP) else state
                lease = Lease(1, state, hw=b"\x01a", ends=NOW - 2 * WAIT_S, horizon=NOW - 2 * WAIT_S, rewind=rewind)
                cells.append(refusal(lease, lease.client if same else b"\x00b", rights, NOW) or "yes")
            rows.append([state.name, *cells])
        out += ["", f"### {title}", "", *table(["binding", *(name for name, _, _ in situations)], rows)]
    out += [
        "In partner-down the wait is MCLT beyond the entry and beyond every end and potential expiry that was ever sent, acked or received"
    ]
    return [
        *out,
        "(draft-12 9.4). dhcpd waits only from the later of the entry and the potential expiry it knows; we follow the draft.",
        "",
        "A dhcpd in partner-down frees a lease at the end that it knows. So beside a dhcpd a server that was booted alone promises",
        "nothing beyond the end that the dhcpd acked, or MCLT after the last contact: renewals get what remains (`acked-remaining`).",
        "Told partner-down only when that bound had passed, it goes on so with each lease whose acked end had passed by then: the",
        "dhcpd may have used its address. Beside a failoverd, so with each lease that had ended by then.",
        "",
    ]


def balances() -> list[str]:
    """8 and 9.4."""
    out = [
        "## Pool balance",
        "",
        "`give`: how many the primary hands over (negative: it is short); a POOLREQ goes out below `panic`.",
        "",
    ]
    rows = []
    for free, backup in ((10, 0), (6, 4), (5, 5), (100, 100), (150, 50), (40, 160), (0, 200)):
        part = balance.share(free, backup, True, 15, 10)
        rows.append(
            [str(free), str(backup), str(part.give), str(part.hold), str(part.panic), "yes" if part.give < part.panic else "no"]
        )
    out += table(["free", "backup", "give", "hold", "panic", "POOLREQ"], rows)
    out += _balance_rules()
    out += ["## Load balance", "", "Of a DISCOVER in normal, with `load-balance-max-seconds = 3` and a split of 128:", ""]
    hba = hashing.hba_from_split(128)
    rows = []
    for name, key in (("bucket below 128", b"\x52\x54\x00\xaa\xbb\xcc"), ("bucket above", b"\x02\x00\x00\x00\x00\x01")):
        for secs in (0, 3, 4):
            who = ["yes" if hashing.is_ours(hba, key, secs, primary=primary, max_secs=3) else "no" for primary in (True, False)]
            rows.append([f"{name} ({hashing.bucket(key)})", str(secs), *who])
    out += table(["client", "secs", "primary answers", "secondary answers"], rows)
    return [*out, "A bit of 1 is the primary's, as dhcpd has it; the draft says the secondary's. A REQUEST is never hashed.", ""]


_OTHERS = ("dhcpd", "draft-12", "follows", "why")


def _balance_rules() -> list[str]:
    """The tables of balance_table.py."""
    giving = ", ".join(state.words for state in S if pools.GIVES[state])
    out = ["### Who gives", "", "Primary FREE, secondary BACKUP; neither takes. A never-used address counts as the oldest.", ""]
    out += table(["we give in", *_OTHERS], [[f"{giving}; in no other state", *pools.GIVES_WHY]])
    out += ["### What a trigger may do, in normal", ""]
    rows = []
    for (trigger, primary), cell in pools.ON_TRIGGER.items():
        if not primary and cell == pools.ON_TRIGGER[trigger, True]:
            continue
        both = "both" if cell == pools.ON_TRIGGER[trigger, not primary] else "primary" if primary else "secondary"
        yes = ["yes" if each else "no" for each in (cell.gives, cell.schedules)]
        rows.append([trigger.value, both, yes[0], cell.asks.value, yes[1], *cell.reason])
    out += table(["what happened", "we are", "gives", "POOLREQ", "next run computed", *_OTHERS], rows)
    out += ["### Where the two passes stop", ""]
    rows = [
        [step.value, "used" if used else "never used", limit.stop.value, *limit.reason]
        for (step, used), limit in pools.STOPS.items()
    ]
    rows += [
        ["just freed on both", "primary" if me else "secondary", limit.stop.value, *limit.reason]
        for me, limit in pools.PUSH_BACK.items()
    ]
    out += table(["pass", "the address", "stops", *_OTHERS], rows)
    out += [
        "### When the next run is",
        "",
        "Now and the lesser age of both sides, max-balance at most, min-balance after the last one at least.",
        "",
    ]
    ages = [
        [side.value, "own" if own else "partner's", _aging(side, age.times), age.why] for (side, own), age in pools.AGES.items()
    ]
    return out + table(["head of the queue", "side", "age", "why"], ages)


def _aging(side: pools.Side, times: int) -> str:
    since = "as if ended at the epoch" if side is pools.Side.VIRGIN else "max-lease-misbalance percent of the time since"
    return ("twice " if times == 2 and side is pools.Side.USED else "") + since if times else "0"


def diagram() -> list[str]:
    """The moves of a running server as a Mermaid diagram."""
    moves: dict[tuple[ServerState, ServerState], list[str]] = {}
    for (me, peer), cell in states.ON_STATE.items():
        if cell.next is not None and peer is not None:
            moves.setdefault((me, cell.next), []).append(SHORT.get(peer, ""))
    for me, after in states.ON_LOSS.items():
        if me is not after and me is not S.UNKNOWN:
            moves.setdefault((me, after), []).append("link lost")
    for (me, _, _), cell in states.ON_UPDDONE.items():
        if cell.next is not None:
            moves.setdefault((me, cell.next), []).append("UPDDONE")
    moves.setdefault((S.RECOVER_WAIT, S.RECOVER_DONE), []).append("the wait is over")
    lines = [
        "## States",
        "",
        "Arrows: what the partner reports, or what happens. An operator's partner-down leads to PD from everywhere.",
        "",
    ]
    lines += ["```mermaid", "stateDiagram-v2"]
    for (me, after), causes in sorted(moves.items()):
        lines.append(f"    {SHORT[me]} --> {SHORT[after]}: {', '.join(dict.fromkeys(causes))}")
    return [*lines, "```", ""]


def document() -> str:
    """docs/failover-tables.md."""
    head = [
        "# Failover tables",
        "",
        "Made by `make docs` from the code; do not edit. dhcpd is ISC dhcpd 4.4.3-P1, the draft is draft-ietf-dhc-failover-12.",
        "",
    ]
    parts = [head, diagram(), state_matrix(), epoch_table(), other_tables(), binding_tables(), allocation(), balances()]
    return "\n".join(line.rstrip() for part in parts for line in part).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())

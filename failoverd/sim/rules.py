"""Which judge watches which rule of safety.md: every rule is named here, and what no simulator can show names the test that does.

A judge is a function of checks.py, limits.py or a file checks_*.py, under its letter; a test is its file and its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from failoverd.sim import checks, checks_epochs, checks_links, checks_names, checks_pings, checks_server, dhcpd_checks, limits


class Rule(NamedTuple):
    """One rule of safety.md. `judges`: what would speak if it were broken; `tests`: what shows it outside of the simulator, as
    path::name."""

    number: int
    words: str
    judges: tuple[Callable[..., object], ...] = ()
    tests: tuple[str, ...] = ()


LETTERS: dict[Callable[..., object], str] = {
    checks.two_holders: "a",
    checks.not_on_disk: "b",
    checks.told_before_commit: "b",
    checks.beyond_mclt: "c",
    limits.before_its_time: "d",
    checks.never_quiet: "e",
    checks.zones_differ: "f",
    limits.not_answered: "g",
    limits.beyond_a_limit: "h",
    checks.boot_differs: "i",
    checks_server.offers_while_the_disk_hangs: "k",
    checks_server.grants_without_room: "l",
    checks_server.names_out_of_turn: "m",
    checks_server.serves_too_early: "w",
    checks_names.partners_name_removed: "n",
    checks_names.offered_twice: "o",
    checks_links.unused_told: "u",
    checks_epochs.nothing_to_resolve: "v",
    checks_pings.offered_in_use: "p",
    checks_pings.offered_unasked: "q",
    dhcpd_checks.dhcpd_ended: "x",
    checks.lease_denied: "r",
}

RULES = (
    Rule(1, "commit and send", (checks.not_on_disk, checks.told_before_commit)),
    Rule(2, "a BNDACK moves the acked expiry to what its BNDUPD carried", (checks.told_before_commit, checks.beyond_mclt)),
    Rule(3, "a failed commit ends the process", (checks.not_on_disk, checks.boot_differs)),
    Rule(4, "a hung disk looks like a dead server", (checks_server.offers_while_the_disk_hangs, checks.never_quiet)),
    Rule(5, "a pause is a lost link and a lone boot", (checks.two_holders,)),
    Rule(
        6,
        "an OFFER reserves its address",
        (checks_names.offered_twice, checks_pings.offered_in_use, limits.not_answered, limits.beyond_a_limit, checks.lease_denied),
    ),
    Rule(7, "below low water no new lease", (checks_server.grants_without_room,)),
    Rule(
        8,
        "durability is shown",
        (checks.boot_differs,),
        ("tests/shell/test_durability.py::",),
    ),
    Rule(9, "the MCLT rule", (checks.beyond_mclt,)),
    Rule(
        10,
        "the two clocks err to the safe side",
        (checks.two_holders, checks.never_quiet),
        (
            "tests/safety/test_rules.py::test_rule_10_a_clock_that_is_set_ahead_ends_no_lease_early",
            "tests/safety/test_rules.py::test_rule_10_what_a_partner_noted_while_its_clock_was_off_lasts_as_long_as_it_meant",
        ),
    ),
    Rule(11, "lone boot", (checks.two_holders,)),
    Rule(
        12,
        "partner-down",
        (limits.before_its_time, checks.two_holders),
        ("tests/safety/test_reunion.py::test_a_partner_that_has_recovered_is_told_what_was_given_before_it_gives_it_again",),
    ),
    Rule(13, "rewind", (checks.two_holders, limits.before_its_time)),
    Rule(14, "recover-wait", (checks_server.serves_too_early, checks.two_holders)),
    Rule(
        15,
        "a lost, restored or rolled-back database",
        (checks.two_holders, checks.never_quiet, checks_pings.offered_unasked),
        ("tests/safety/test_reunion.py::test_what_was_known_before_the_loss_and_is_told_again_ends_no_rest",),
    ),
    Rule(
        16,
        "both databases empty",
        (checks.two_holders,),
        ("tests/safety/test_rules.py::test_rule_16_two_empty_databases_reach_normal_only_when_attested",),
    ),
    Rule(
        17,
        "epoch",
        (checks_epochs.nothing_to_resolve, checks.two_holders, checks.never_quiet),
        ("tests/safety/test_rules.py::test_rule_17_each_partner_down_raises_the_epoch", "tests/safety/test_epochs.py::"),
    ),
    Rule(18, "UPDDONE, and rejected addresses", (checks.never_quiet, checks.two_holders)),
    Rule(19, "potential-conflict", (checks.two_holders, checks.never_quiet)),
    Rule(
        20,
        "secondary of a dhcpd in potential-conflict",
        (),
        ("tests/safety/test_conflict.py::test_rule_20_as_secondary_of_a_dhcpd_ask_first_judge_and_send_only_winners",),
    ),
    Rule(
        21,
        "a secondary without the partner's state waits for it",
        (checks.never_quiet, dhcpd_checks.dhcpd_ended),
        ("tests/safety/test_rules.py::test_rule_21_a_secondary_that_does_not_know_the_primarys_state_waits_for_it",),
    ),
    Rule(22, "the hash decides DISCOVER only", (limits.not_answered, limits.before_its_time)),
    Rule(
        23,
        "never-used addresses are neither rows nor messages",
        (limits.beyond_a_limit, checks_links.unused_told),
        ("tests/safety/test_rules.py::test_rule_23_never_used_addresses_are_not_rows",),
    ),
    Rule(24, "a DNS row says what it may have done", (checks.zones_differ,)),
    Rule(
        25,
        "who sends names, and who deletes them",
        (checks_server.names_out_of_turn, checks_names.partners_name_removed, checks.zones_differ),
        ("tests/safety/test_reunion.py::test_no_name_is_taken_away_before_the_partner_has_told_what_it_gave_meanwhile",),
    ),
    Rule(
        26,
        "private options on an authenticated link only",
        (),
        ("tests/safety/test_rules.py::test_rule_26_nothing_above_option_29_is_said_on_a_plain_link", "tests/shell/test_tls.py::"),
    ),
    Rule(
        27,
        "who may type what",
        (),
        (
            "tests/safety/test_rules.py::test_rule_27_every_mutating_verb_is_kept_with_who_when_and_why",
            "tests/api/test_api_socket.py::",
        ),
    ),
)


def table() -> str:
    """For the documents: rule, its judges by letter, its tests."""
    rows = ["| rule | judges | tests |", "| --- | --- | --- |"]
    for rule in RULES:
        judges = ", ".join(f"({LETTERS[judge]}) {judge.__name__.replace('_', ' ')}" for judge in rule.judges)
        rows.append(f"| {rule.number} {rule.words} | {judges} | {' '.join(rule.tests)} |")
    return "\n".join(rows)

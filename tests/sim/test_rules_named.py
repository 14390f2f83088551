"""Every rule of safety.md is watched by a judge of the simulator, or by a test with real processes that exists."""

from __future__ import annotations

from inspect import unwrap
from pathlib import Path

import pytest

from failoverd.sim.checks import CHECKS, LINK_CHECKS
from failoverd.sim.rules import LETTERS, RULES, Rule, table
from tests.sim.mutants import MUTANTS

ROOT = Path(__file__).parent.parent.parent
UNBREAKABLE = {20, 21, 26, 27}
"""Their code is not reached by the plans of the simulator."""


def test_all_27_rules_are_named_by_a_judge_or_a_test() -> None:
    assert [rule.number for rule in RULES] == list(range(1, 28))
    assert all(rule.judges or rule.tests for rule in RULES)
    assert len(table().splitlines()) == 2 + 27


def test_each_judge_is_called_and_watches_a_rule() -> None:
    called = {unwrap(check) for check in (*CHECKS, *LINK_CHECKS)}  # some see our own servers only (dhcpd_checks.ours_only)
    assert called == set(LETTERS)
    assert called == {judge for rule in RULES for judge in rule.judges}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.tests], ids=lambda rule: str(rule.number))
def test_the_named_tests_exist(rule: Rule) -> None:
    for name in rule.tests:
        path, _, test = name.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert (f"def {test}(" if test else "def test_") in text


def test_each_rule_that_code_can_break_has_a_mutant() -> None:
    have = {int(mutant.rule) for mutant in MUTANTS}
    assert have >= set(range(1, 28)) - UNBREAKABLE
    assert len(MUTANTS) >= 30

"""`--parts`: the run in parts, each with its budget: check and unit, property, simulator, BIND, interop, end to end.

A test's part follows from where it lies and how it is marked, so nobody has to list it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

# Seconds. `make check` runs before and shares the first budget.
BUDGETS = {"unit": 120.0, "property": 120.0, "simulator": 180.0, "BIND": 120.0, "interop": 240.0, "end to end": 120.0}
TOTAL_S = 900.0
SPENT = dict.fromkeys(BUDGETS, 0.0)
COUNT = dict.fromkeys(BUDGETS, 0)


def part_of(item: pytest.Item) -> str:
    """The part a test belongs to."""
    folders = item.path.relative_to(item.config.rootpath / "tests").parts
    if "interop" in folders:
        return "interop"
    if "e2e" in folders:
        return "end to end"
    if {"sim", "scenarios", "recording", "replay"} & set(folders):
        return "simulator"
    if item.get_closest_marker("bind"):
        return "BIND"
    if getattr(getattr(item, "function", None), "hypothesis", None) is not None:
        return "property"
    return "unit"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parts", action="store_true", help="run in parts and print what each took of its budget")
    parser.addoption("--rewrite", action="store_true", help="write the transcripts of tests/scenarios anew")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--parts"):
        order = list(BUDGETS)
        items.sort(key=lambda item: order.index(part_of(item)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    began = time.monotonic()
    try:
        return (yield)
    finally:
        part = part_of(item)
        SPENT[part] += time.monotonic() - began
        COUNT[part] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--parts"):
        return
    terminalreporter.section("parts")
    for part, budget in BUDGETS.items():
        over = "   OVER ITS BUDGET" if SPENT[part] > budget else ""
        terminalreporter.write_line(f"{part:<12}{COUNT[part]:>6} tests {SPENT[part]:>7.1f} s of {budget:.0f} s{over}")
    total = sum(SPENT.values())
    over = "   OVER ITS BUDGET" if total > TOTAL_S else ""
    terminalreporter.write_line(f"{'all':<12}{sum(COUNT.values()):>6} tests {total:>7.1f} s of {TOTAL_S:.0f} s{over}")

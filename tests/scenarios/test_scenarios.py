"""Every scenario gives the transcript that its file holds: `pytest tests/scenarios --rewrite` writes them anew, to be read as a diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.script import ScriptError, run

FILES = sorted(Path(__file__).parent.glob("*.txt"))
FIGURES = ("5.2.1-1", "5.11-1", "7.1.3-1", "9.2-1", "9.5.2-1", "9.9.3-1", "9.10.3-1")  # draft-12's, all


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(file: Path, request: pytest.FixtureRequest) -> None:
    text = file.read_text()
    again = run(text)
    if request.config.getoption("--rewrite"):
        file.write_text(again)
    else:
        assert again == text, "the transcript is another one: rewrite it with --rewrite and read the diff"


def test_each_scenario_says_first_what_one_should_see() -> None:
    for file in FILES:
        head = file.read_text().split("\n\n", 1)[0]
        assert all(line.startswith("# ") for line in head.splitlines()), file.name


def test_each_figure_of_the_draft_has_its_scenario() -> None:
    names = [file.name for file in FILES]
    assert [each for each in FIGURES if not any(name.startswith(f"figure-{each}-") for name in names)] == []


def test_a_changed_transcript_is_noticed() -> None:
    text = run("# A word before.\n\npair\nstart a\n")
    assert run(text) == text
    assert run(text.replace("now in startup", "now in normal")) == text


@pytest.mark.parametrize("line", ["dance a", "client 1 dance", "b dances"])
def test_an_unknown_command_is_refused(line: str) -> None:
    with pytest.raises(ScriptError):
        run(f"pair\n{line}\n")


def test_a_script_without_a_stage_is_refused() -> None:
    with pytest.raises(ScriptError, match="begin with"):
        run("start a\n")

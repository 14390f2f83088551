"""The reference is what the commands say, and every failoverctl command that the documents name exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from failoverd.ctl.main import main
from failoverd.ctl.reference import reference, verbs

ROOT = Path(__file__).resolve().parents[2]
WORDS = {words for words, _ in verbs(main)}


def test_the_reference_is_up_to_date() -> None:
    assert (ROOT / "docs" / "failoverctl.md").read_text() == reference(), "run: make docs"


def test_every_verb_says_what_it_is_for_and_has_exit_codes() -> None:
    for words, verb in verbs(main):
        assert verb.help, words
        assert "Exit codes" in (verb.epilog or ""), words
        for option in verb.params:
            if isinstance(option, click.Option):
                assert option.help, (words, option.name)


def test_every_verb_that_changes_something_can_be_previewed_and_explained() -> None:
    changing = {words for words, verb in verbs(main) if any(option.name == "yes" for option in verb.params)}
    assert {
        ("partner-down",),
        ("serve",),
        ("pair", "init"),
        ("maintenance", "start"),
        ("recover",),
        ("pool", "rebalance"),
    } <= changing
    for words, verb in verbs(main):
        if words in changing:
            assert any(option.name == "dry_run" for option in verb.params), words


@pytest.mark.parametrize("path", ["README.md", *sorted(f"docs/{name}" for name in os.listdir(ROOT / "docs"))])
def test_documents_name_only_verbs_that_exist(path: str) -> None:
    for line in re.findall(r"failoverctl ([a-z][a-z-]*(?: [a-z][a-z-]*)*)", (ROOT / path).read_text()):
        words = tuple(line.split())
        if words[0] in ("speaks", "needs", "and"):  # prose
            continue
        is_verb = any(words[: len(known)] == known for known in WORDS)
        assert is_verb or any(known[: len(words)] == words for known in WORDS), line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_it(shell: str) -> None:
    run = [sys.executable, "-c", "from failoverd.ctl.main import main; main(prog_name='failoverctl')"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "_FAILOVERCTL_COMPLETE": f"{shell}_source"}
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert "failoverctl" in done.stdout, done.stderr
    env |= {
        "_FAILOVERCTL_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "failoverctl maint",
        "COMP_CWORD": "maint" if shell == "fish" else "1",
    }
    assert "maintenance" in subprocess.run(run, env=env, capture_output=True, text=True, check=False).stdout

"""docs/failover-tables.md is what `make docs` writes, and says what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from failoverd.failover import states
from failoverd.failover.message import ServerState as S
from failoverd.failover.states import Action, Cell
from failoverd.sim import tables_doc

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "failover-tables.md"


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == tables_doc.document(), "run `make docs`"


def test_a_changed_cell_changes_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables_doc.document()
    assert "    RD --> R: R" in before
    assert "| CD | CI | PC; dhcpd: exit | ours |" in before
    monkeypatch.setitem(states.ON_STATE, (S.CONFLICT_DONE, S.COMMUNICATIONS_INTERRUPTED), Cell(Action.STAY, why="planted"))
    assert "| CD | CI | -; dhcpd: exit | isc | planted |" in tables_doc.document()


def test_every_cell_of_the_matrix_has_its_reason() -> None:
    reasons = [line.split(" | ")[-1] for line in tables_doc.state_matrix() if line.count("|") == 6]
    assert len(reasons) > 120
    assert all(reason.strip(" |") for reason in reasons)

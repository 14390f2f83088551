"""What a relationship knows of epochs: what both agreed on last, who raised it since, and what was granted here meanwhile (safety.md 17).

The decision is a cell of epochs.py; here is what it is asked with, and what keeps that true over crashes.
"""

from __future__ import annotations

from failoverd.failover import epochs, private
from failoverd.failover.dialect import EPOCHS
from failoverd.failover.epochs import Raised, Then
from failoverd.failover.message import Message, ServerState
from failoverd.failover.standing import Standing
from failoverd.failover.states import Action, Cell
from failoverd.leases import mclt
from failoverd.leases.lease import Lease

S = ServerState


class Agreement(Standing):
    """The epochs of one relationship."""

    # --- what was granted since the last contact --------------------------------------------------------------------------

    def granted(self, lease: Lease) -> None:
        """A client got this lease. Alone, the first that the bound of safety.md 11 would not allow is remembered, on disk with the lease
        itself. In contact the lease's own record says enough, see `_granted_beyond`."""
        record = self.record
        if record.agreed is None or record.beyond or record.state is not S.COMMUNICATIONS_INTERRUPTED:
            return
        if mclt.beyond(lease, record.proven, record.mclt_s, self.slack_s):
            record.beyond = self.owes_record = True

    def _granted_beyond(self) -> bool:
        """Whether anything was granted here since the last contact that the partner, in partner-down, could not know to be in use. A server
        that was in normal until now, or until it fell, has it in its leases: those that the partner has not acked."""
        record = self.record
        in_normal = record.state is S.NORMAL
        return record.beyond or (in_normal and self.house.granted_beyond(self.terms.name, record.proven))

    def _left_normal(self) -> None:
        """Contact is lost: what was granted while nobody noticed counts as granted alone."""
        record = self.record
        if record.agreed is not None:
            record.beyond = record.beyond or self.house.granted_beyond(self.terms.name, record.proven)

    # --- what both agree on -----------------------------------------------------------------------------------------------

    def _agree(self) -> bool:
        """Both are in normal, and each has heard it of the other: the newest epoch is both's. Whether that is new."""
        record = self.record
        if record.state is not S.NORMAL or self.starting or record.partner_state is not S.NORMAL:
            return False
        before = record.epoch, record.agreed
        if self.dialect >= EPOCHS:
            record.epoch = record.partner_epoch = record.agreed = max(record.epoch, record.partner_epoch)
        else:
            record.agreed = None  # it may raise its own without our hearing of it
        return (record.epoch, record.agreed) != before

    def _standing(self) -> private.Standing:
        return private.Standing(int(self.record.state), self.record.agreed)

    def _hear_epoch(self, message: Message) -> None:
        """With the handshake, and with each STATE of a partner that can."""
        epoch = private.decode_epoch(private.option(message, private.EPOCH) or b"")
        if epoch is not None:
            self.record.partner_epoch = epoch

    def _hear_standing(self, standing: private.Standing | None) -> str:
        """What the partner says that both agreed on. It may have heard of our normal before we heard of its own: then it is right. That
        we never heard of such an epoch means that our database is not what it was: in what way, "" when it is."""
        record = self.record
        if standing is None or standing.agreed is None or record.agreed is None:
            return ""
        known = max(record.epoch, record.partner_epoch)
        if standing.agreed > known:
            return f"both agreed on epoch {standing.agreed}, but it knows of none after {known}"
        record.agreed = max(record.agreed, standing.agreed)
        record.epoch = max(record.epoch, record.agreed)
        return ""

    # --- who recovers -----------------------------------------------------------------------------------------------------

    def _by_epoch(self) -> tuple[Then, str]:
        """Safety.md 17 for a partner in partner-down: what follows, and why in an operator's words."""
        record = self.record
        if record.state not in epochs.JUDGES:
            return Then.STATES, ""
        whose = epochs.raised(record.agreed, record.epoch, record.partner_epoch, told=self.dialect >= EPOCHS)
        cell = epochs.DECIDES[whose, whose is not Raised.UNTOLD and self._granted_beyond()]
        return cell.then, cell.text.format(theirs=record.partner_epoch, ours=record.epoch)

    def _recovers_at_once(self, standing: private.Standing | None) -> str:
        """Whether the handshake has said enough to recover, and why: our own STATE must be recover then. A partner that heard another would
        go to potential-conflict (5.4)."""
        if standing is None or standing.state != S.PARTNER_DOWN:
            return ""
        then, why = self._by_epoch()
        return why if then is Then.RECOVER else ""

    def _ruled_by_epoch(self, cell: Cell, peer: ServerState | None) -> tuple[Cell, str]:
        """The cell of states.py for the partner's state, or the one that the epochs put in its place, and why."""
        if peer is not S.PARTNER_DOWN:
            return cell, ""
        then, why = self._by_epoch()
        if then is Then.STATES:
            return cell, ""
        to = S.RECOVER if then is Then.RECOVER else S.POTENTIAL_CONFLICT
        return Cell(Action.MOVE, to, follows="ours", why=why), why

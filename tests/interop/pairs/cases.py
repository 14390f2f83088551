"""Every file of cases, loaded."""

from __future__ import annotations

from tests.interop.pairs import (
    cases_better,
    cases_contact,
    cases_link,
    cases_outage,
    cases_ping,
    cases_restart,
    cases_stalled,
    cases_tls,
    cases_zero_loss,
)

LOADED = (
    cases_better,
    cases_contact,
    cases_link,
    cases_outage,
    cases_ping,
    cases_restart,
    cases_stalled,
    cases_tls,
    cases_zero_loss,
)

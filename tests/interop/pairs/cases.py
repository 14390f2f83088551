"""Every file of cases, loaded."""

from __future__ import annotations

from tests.interop.pairs import cases_contact, cases_link, cases_outage, cases_restart

LOADED = (cases_contact, cases_link, cases_outage, cases_restart)

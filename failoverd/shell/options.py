"""What the command line and the configuration say about this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from failoverd.config_models import Config, Local
from failoverd.failover.terms import Terms
from failoverd.shell.logs import Format
from failoverd.shell.tls import Identity


@dataclass(slots=True, frozen=True)
class Options:
    """The command line, and what it named."""

    config: Config
    server: str
    local: Local
    terms: Mapping[str, Terms]
    identities: Mapping[str, Identity]
    force_clock: bool
    new_pair: bool
    log_format: Format

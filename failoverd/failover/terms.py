"""The terms of one relationship, as configured."""

from __future__ import annotations

from dataclasses import dataclass

from failoverd.failover.dialect import NEWEST


@dataclass(slots=True, frozen=True)
class Tls:
    """The TLS of a relationship, seen from this server (safety.md 26): paths of PEM files, and the DNS names that the two certificates
    must carry."""

    cert_file: str
    key_file: str
    ca_file: str
    own_name: str
    partner_name: str


@dataclass(slots=True, frozen=True)
class Terms:
    """One relationship, seen from this server. Times in seconds. `hba`: 32 bytes, bit set = the primary serves
    (failover-protocol.md 9.3). `partner_is_dhcpd`: the partner is configured as an ISC dhcpd. `tls`: None for a plain link.
    `zero_loss_s`: how long a DHCPACK may wait for the BNDACK, 0 for not at all.
    `dialect`: the newest of ours that is offered on a link with tls, 0 for none."""

    name: str
    primary: bool
    local_address: int
    local_port: int
    partner_address: int
    partner_port: int
    mclt_s: int
    hba: bytes
    load_balance_max_s: int
    max_response_delay_s: int
    max_unacked: int
    max_misbalance: int
    max_ownership: int
    min_balance_s: int
    max_balance_s: int
    auto_partner_down_s: int
    lone_boot_serve: bool
    partner_is_dhcpd: bool
    partner_max_unacked: int
    pools: tuple[str, ...]
    zero_loss_s: int = 0
    tls: Tls | None = None
    dialect: int = NEWEST

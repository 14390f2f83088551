"""Debian's dhcpd 4.4.3 as the partner, in either role: normal is reached, bindings go both ways, both databases agree."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.lab import isc, ours
from tests.lab.client import Client, Program
from tests.lab.isc import Dhcpd
from tests.lab.lab import Lab
from tests.lab.ours import Failoverd
from tests.lab.site import FIRST, SECOND, Site, acknowledged
from tests.lab.terms import Role
from tests.lab.wait import LabError, until

pytestmark = [pytest.mark.root, pytest.mark.isc]
POOL = 200


@dataclass(slots=True)
class Mixed:
    """One failoverd and one dhcpd."""

    site: Site
    dhcpd: Dhcpd
    failoverd: Failoverd
    dhcpd_address: str
    our_address: str

    @classmethod
    def build(cls, lab: Lab, dhcpd_role: Role) -> Mixed:
        """Both configured, none started."""
        site = Site.build(lab, POOL)
        pair = site.pair(mclt_s=60, lease_s=600)
        hosts = {Role.PRIMARY: (site.dhcp1, FIRST), Role.SECONDARY: (site.dhcp2, SECOND)}
        our_role = Role.SECONDARY if dhcpd_role is Role.PRIMARY else Role.PRIMARY
        (theirs, their_address), (mine, our_address) = hosts[dhcpd_role], hosts[our_role]
        dhcpd = Dhcpd.make(theirs, isc.config(pair, dhcpd_role, [site.scope]))
        text = ours.config(lab.folder, pair, [site.scope], ours=[mine.name], interfaces=["eth0"])
        return cls(site, dhcpd, Failoverd.make(mine, text), their_address, our_address)

    def normal(self) -> None:
        """Both say normal."""

        def both() -> bool:
            states = self.dhcpd.state(), self.failoverd.state()
            if states != ("normal", "normal"):
                raise LabError(f"dhcpd {states[0]}, failoverd {states[1]}")
            return True

        until("dhcpd and failoverd are normal", both, 30)

    def agree(self, held: dict[str, str]) -> None:
        """Both databases have `held` (address -> mac) as active leases."""

        def same() -> bool:
            theirs = {row.address: row.mac for row in self.dhcpd.leases().values() if row.state == "active"}
            mine = self.failoverd.held()
            if theirs != held or mine != held:
                missing = sorted(held.items() - theirs.items())[:3], sorted(held.items() - mine.items())[:3]
                raise LabError(f"{len(held)} held, dhcpd {len(theirs)}, failoverd {len(mine)}; missing {missing}")
            return True

        until("dhcpd.leases and failoverctl lease list agree with the clients", same, 20, 0.3)


@pytest.mark.parametrize("dhcpd_role", list(Role))
def test_a_dhcpd_partner_reaches_normal_and_exchanges_bindings(dhcpd_role: Role) -> None:
    with Lab() as lab:
        mixed = Mixed.build(lab, dhcpd_role)
        mixed.dhcpd.start()
        mixed.failoverd.start(new_pair=True)
        mixed.normal()
        # 40 clients behind a relay, each hears both servers: the hash gives both a share.
        load = mixed.site.load("both", 40, 40)
        until("the load has ended", lambda: not load.alive(), 40)
        rows = acknowledged(load)
        assert len(rows) == 40, load.text()
        by_server = [sum(row.server == address for row in rows) for address in (mixed.dhcpd_address, mixed.our_address)]
        assert sum(by_server) == 40
        assert min(by_server) >= 8, by_server
        # A lease that the partner has not acknowledged is MCLT long (isc-behaviour.md: every new client gets MCLT).
        assert {row.lease_s for row in rows} == {60}
        held = {row.address: row.mac for row in rows}
        assert len(held) == 40
        mixed.agree(held)
        # Real clients on the wire: their release must reach the partner as well.
        clients = [
            Client.make(lab, "br0", f"c{n}", n, program, f"host{n}")
            for n, program in enumerate((Program.DHCLIENT, Program.UDHCPC) * 4)
        ]
        for client in clients:
            client.start()
        for client in clients:
            until(f"{client.host.name} has a lease", client.lease, 20)
        held |= {client.lease().address: client.mac for client in clients}
        servers = {client.lease().server for client in clients}
        assert servers == {mixed.dhcpd_address, mixed.our_address}
        mixed.agree(held)
        for client in clients:
            del held[client.lease().address]
            client.release()
        mixed.agree(held)


@pytest.mark.parametrize("dhcpd_role", list(Role))
def test_each_side_serves_on_when_the_other_is_killed_and_both_are_normal_again(dhcpd_role: Role) -> None:
    with Lab() as lab:
        mixed = Mixed.build(lab, dhcpd_role)
        mixed.dhcpd.start()
        mixed.failoverd.start(new_pair=True)
        mixed.normal()
        held: dict[str, str] = {}
        for name in ("dhcpd", "failoverd"):
            if name == "dhcpd":
                mixed.dhcpd.running().kill()
                until("failoverd notices", lambda: mixed.failoverd.state() == "communications-interrupted", 10)
            else:
                mixed.failoverd.kill()
                until("dhcpd notices", lambda: mixed.dhcpd.state() == "communications-interrupted", 10)
            load = mixed.site.load(f"without-{name}", 20, 40)
            until("the load has ended", lambda load=load: not load.alive(), 40)
            rows = acknowledged(load)
            assert len(rows) == 20, load.text()
            assert {row.server for row in rows} == {mixed.our_address if name == "dhcpd" else mixed.dhcpd_address}
            held |= {row.address: row.mac for row in rows}
            if name == "dhcpd":
                mixed.dhcpd.start()
            else:
                mixed.failoverd.start()
            mixed.normal()
            mixed.agree(held)
        assert len(held) == 40

"""failoverctl ddns against a whole pair: the audit of real names, and a repair while clients are served."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console

from tests.lab import ours
from tests.lab.bind import nsupdate
from tests.lab.demo import Demo, name_of, reverse_name, zones_equal
from tests.lab.lab import Lab
from tests.lab.office import DOMAIN, MASTER, Office
from tests.lab.ours import Failoverd
from tests.lab.wait import LabError, until

pytestmark = [pytest.mark.root, pytest.mark.bind, pytest.mark.isc]


def test_check_test_static_and_repair_on_a_pair() -> None:
    with Lab() as lab:
        office = Office.build(lab)
        text = ours.config(lab.folder, office.pair(60, 600), office.scopes(), office.zones, office.keys.update, MASTER)
        text = text.replace("[ddns]\n", f'[ddns]\nstatic-key-file = "{office.keys.operator.path}"\n')
        demo = Demo(office, Failoverd.make(office.dhcp1, text), Failoverd.make(office.dhcp2, text), Console(file=sys.stderr))
        demo.begin()
        demo.both_normal()
        clients = demo.add_clients(range(1, 7))
        zones_equal(office.master, demo.clients, demo.others, 30)
        first, second = demo.servers

        assert "the zone takes what failoverd sends" in first.ctl("ddns", "test", DOMAIN)
        for server in demo.servers:
            assert server.asked("ddns", "check")["findings"] == []
            counts = {zone["zone"]: zone["counts"] for zone in server.asked("ddns", "check")["zones"]}
            assert counts[DOMAIN]["ok"] + counts[DOMAIN]["partner"] == len(clients)

        first.ctl("ddns", "static", "add", f"printer.{DOMAIN}", "A", "10.10.0.90")
        assert office.master.lookup(f"printer.{DOMAIN}", "A") == ["10.10.0.90"]
        first.ctl("ddns", "static", "del", f"printer.{DOMAIN}", "A", "10.10.0.90")
        with pytest.raises(LabError, match="never touch"):
            first.ctl("ddns", "static", "add", name_of(clients[0]), "TXT", "x")

        mine = [client for client in clients if office.server(client.lease().server) == "dhcp1"]
        gone = mine[0]
        zone = next(each for each in office.zones.all if reverse_name(gone.lease().address).endswith("." + each))
        nsupdate(office.dhcp1, office.keys.operator, MASTER, DOMAIN, f"update delete {name_of(gone)} A")
        nsupdate(office.dhcp1, office.keys.operator, MASTER, zone, f"update delete {reverse_name(gone.lease().address)} PTR")
        found = {each["name"]: each["class"] for each in first.asked("ddns", "check")["findings"]}
        assert found == {name_of(gone): "wrong", reverse_name(gone.lease().address): "missing"}
        assert second.asked("ddns", "check")["repairs"] == 0  # the name is its partner's
        first.ctl("ddns", "repair", "--yes", "--reason", "somebody deleted it")
        zones_equal(office.master, demo.clients, demo.others, 30)
        until("nothing is left to repair", lambda: first.asked("ddns", "check")["findings"] == [], 20)
        assert any("ddns repair" in event["what"] for event in first.asked("history")["events"])
        for server in demo.servers:
            assert server.stop() == 0

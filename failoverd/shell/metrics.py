"""The metrics: the status that `failoverctl status` prints, and the counts of all notes, as Prometheus text.

Names follow the Prometheus rules: unit last, `_total` for counters, times as ages or as `_timestamp_seconds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias, cast

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from failoverd.notes import CATALOGUE
from failoverd.shell.loop import Counts

CONTENT_TYPE = CONTENT_TYPE_LATEST
STATES = (  # draft-12 5.1 and failover-protocol 5.1, as `status` spells them: each has a series, so that an alert can name it
    "startup",
    "normal",
    "communications-interrupted",
    "partner-down",
    "potential-conflict",
    "recover",
    "recover-wait",
    "recover-done",
    "resolution-interrupted",
    "conflict-done",
    "paused",
    "shutdown",
    "unknown-state",
)
POOL_STATES = ("active", "free", "backup", "abandoned", "expired", "released", "reset", "offered")
LASTS = ("now", "interrupted", "partner_down")

Record: TypeAlias = Mapping[str, object]


class Counted(Protocol):
    """What the metrics need of the loop."""

    @property
    def note_counts(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def counts(self) -> Counts: ...  # noqa: D102


def _number(record: Record, key: str) -> float:
    return float(cast("float", record[key]))


def _records(record: Record, key: str) -> Sequence[Record]:
    return cast("Sequence[Record]", record[key])


def _gauge(name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(f"failoverd_{name}", text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


class StatusCollector(Collector):
    """The series of one status. Made anew for each scrape: nothing is kept between scrapes."""

    def __init__(self, status: Record, loop: Counted) -> None:
        self._status = status
        self._note_counts = loop.note_counts
        self._counts = loop.counts

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: this registry lives for one scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._server()
        yield from self._relationships()
        yield from self._pools()
        yield from self._dns()
        yield from self._beats()
        yield self._notes()

    def _server(self) -> Iterator[Metric]:
        status = self._status
        yield _gauge(
            "info",
            "Always 1; what runs here.",
            ("server", "version", "config_digest"),
            [((str(status["server"]), str(status["version"]), str(status["config_digest"])), 1)],
        )
        yield _gauge("start_timestamp_seconds", "When the daemon was started.", (), [((), _number(status, "started"))])
        yield _gauge("serving", "1 when clients are answered.", (), [((), _number(status, "serving"))])
        yield _gauge("warnings", "Warnings that failoverctl status shows.", (), [((), len(_records(status, "warnings")))])

    def _relationships(self) -> Iterator[Metric]:
        rows = _records(self._status, "relationships")
        for name, text, key in (
            ("relationship_state", "1 for the failover state of this server, 0 for every other.", "state"),
            ("partner_state", "1 for the failover state of the partner as last told, 0 for every other.", "partner_state"),
        ):
            yield _gauge(name, text, ("relationship", "state"), _one_hot(rows, key))
        for name, text, key in (
            ("relationship_serving", "1 when clients of its pools are answered.", "serving"),
            ("relationship_linked", "1 when the partner is connected.", "linked"),
            ("relationship_since_timestamp_seconds", "When the state was entered.", "since"),
            ("relationship_epoch", "Raised at each partner-down.", "epoch"),
            ("relationship_dialect", "What both tell each other beside dhcpd's protocol; 0 is nothing.", "dialect"),
            ("updates_unacked", "Binding updates sent and not yet acked.", "unacked"),
            ("updates_window", "How many binding updates may be unacked.", "window"),
            ("updates_owed", "Leases whose current view the partner has not acked.", "owed"),
            ("mclt_seconds", "Maximum client lead time.", "mclt_s"),
            (
                "doubt_until_timestamp_seconds",
                "Lone boot: nothing is granted beyond this time; 0 when not in doubt.",
                "doubt_until",
            ),
            ("countdown_until_timestamp_seconds", "When the present wait ends by itself; 0 for none.", "countdown_until"),
        ):
            yield _gauge(name, text, ("relationship",), [((str(row["name"]),), _number(row, key)) for row in rows])
        wall = _number(self._status, "wall")
        yield _gauge(
            "last_contact_seconds",
            "Seconds since the partner was last heard; absent when it never was.",
            ("relationship",),
            [((str(row["name"]),), max(0.0, wall - _number(row, "last_heard"))) for row in rows if row["last_heard"]],
        )
        yield _gauge(
            "clock_skew_seconds",
            "The partner's clock minus ours; absent while unknown.",
            ("relationship",),
            [((str(row["name"]),), _number(row, "skew_s")) for row in rows if row["skew_s"] is not None],
        )

        yield _gauge(
            "configuration_differences",
            "Known differences between the configurations of the two servers.",
            ("relationship",),
            [((str(row["name"]),), float(len(cast("Sequence[str]", row["differences"])))) for row in rows],
        )
        certificates = [
            ((str(row["name"]), whose), _number(cast("Record", row["tls"]), key))
            for row in rows
            if row["tls"]
            for whose, key in (("own", "until"), ("partner", "partner_until"))
        ]
        yield _gauge(
            "tls_certificate_expiry_timestamp_seconds",
            "When a certificate of the failover link expires; absent while unknown and for a plain link.",
            ("relationship", "whose"),
            [row for row in certificates if row[1]],
        )

    def _pools(self) -> Iterator[Metric]:
        labels = ("pool", "network", "relationship")
        pools = [((str(p["name"]), str(p["network"]), str(p["relationship"] or "")), p) for p in _records(self._status, "pools")]
        yield _gauge("pool_size", "Addresses of the pool.", labels, [(values, _number(pool, "total")) for values, pool in pools])
        yield _gauge(
            "pool_addresses",
            "Addresses by binding state; free is the primary's share, backup the secondary's.",
            (*labels, "state"),
            [((*values, state), _number(pool, state)) for values, pool in pools for state in POOL_STATES],
        )
        forecasts = [(values, cast("Record", pool["lasts"])) for values, pool in pools if pool["lasts"] is not None]
        yield _gauge(
            "pool_lasts_seconds",
            "How long the free addresses last at the recent rate: now, without contact, after partner-down; absent for never or unknown.",
            (*labels, "case"),
            [((*values, case), _number(each, case)) for values, each in forecasts for case in LASTS if each[case] is not None],
        )

    def _dns(self) -> Iterator[Metric]:
        dns = cast("Record", self._status["dns"])
        zones = [((str(zone["target"]), str(zone["zone"])), zone) for zone in _records(dns, "zones")]
        yield _gauge(
            "ddns_zone_state",
            "1 for the state of the zone's queue.",
            ("target", "zone", "state"),
            [((*values, str(zone["state"])), 1) for values, zone in zones],
        )
        for name, text, key in (
            ("ddns_queue_length", "Updates that wait for this zone.", "queue"),
            ("ddns_oldest_seconds", "Age of the oldest waiting update.", "oldest_s"),
            ("ddns_last_ok_timestamp_seconds", "When the master last accepted an update; 0 for never.", "last_ok"),
            ("ddns_failures", "Failed attempts since the last success.", "failures"),
        ):
            yield _gauge(name, text, ("target", "zone"), [(values, _number(zone, key)) for values, zone in zones])
        secondaries = [
            ((str(row["target"]), str(row["zone"]), str(row["slave"])), row)
            for row in cast("Sequence[Record]", dns.get("secondaries", ()))
        ]
        yield _gauge(
            "dns_lag_seconds",
            "Age of the oldest change that a secondary does not show yet; 0 when it shows all.",
            ("target", "zone", "slave"),
            [(values, _number(row, "lag_s")) for values, row in secondaries],
        )
        counts = cast("Mapping[str, int]", dns["rows"])
        yield _gauge("ddns_rows", "DNS rows by state.", ("state",), [((state,), counts[state]) for state in sorted(counts)])

    def _beats(self) -> Iterator[Metric]:
        counts = self._counts
        yield SummaryMetricFamily("failoverd_commit_seconds", "Duration of commits to the disk.", counts.commits, counts.commit_s)
        yield _gauge("commit_longest_seconds", "The longest commit since the start.", (), [((), counts.longest_commit_s)])
        for name, text, number in (
            ("beats", "Steps of the node.", counts.beats),
            ("datagrams", "Datagrams of clients and relays that were stepped.", counts.datagrams),
            ("writes", "Journal records committed.", counts.writes),
        ):
            yield CounterMetricFamily(f"failoverd_{name}", text, number)

    def _notes(self) -> Metric:
        family = CounterMetricFamily("failoverd_notes", "How often each named note was made.", labels=("name",))
        for name in sorted({*CATALOGUE, *self._note_counts}):
            family.add_metric((name,), self._note_counts.get(name, 0))
        return family


def _one_hot(rows: Sequence[Record], key: str) -> Iterator[tuple[Sequence[str], float]]:
    for row in rows:
        for state in STATES if row[key] in STATES else (*STATES, str(row[key])):
            yield (str(row["name"]), state), float(row[key] == state)


def exposition(status: Record, loop: Counted) -> bytes:
    """The text of one scrape. `status`: the body of the verb "status"."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(status, loop))
    ProcessCollector(registry=registry)
    return generate_latest(registry)

"""What a client is called: the DHCP room's word on whose work the update is, and the DNS room's word on the name, put together.

Pure, and the same for an OFFER and for the ACK that follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from failoverd.compile_names import NOBODY, NamePlan, NameScope
from failoverd.ddns.names import NameDecision, Sent, decide_name, mapped_name
from failoverd.dhcp.client import Client
from failoverd.dhcp.fqdn import NAMELESS, VERDICTS, Asked, Named, Scope, Wish, wish, write
from failoverd.leases.lease import NO_FORWARD, NO_REVERSE
from failoverd.notes import declare

UNUSED = declare(
    "client-name-not-used",
    "info",
    "The name that a client sent cannot be its name in DNS: it is an address, has no usable character, is reserved or protected, is too "
    "long, or is a zone or one of its name or mail servers. The client is named as if it had sent none.",
    limited=True,
)


class Names:
    """The names of one site's clients. `given`: what a client (as Lease.client) that asks for a name is called, when another one has
    that; the lease keeps what was asked for. A client that loses its name hears so at its next renewal: nothing here waits for DNS."""

    def __init__(self, plan: NamePlan, given: Callable[[str, bytes], str] = lambda wish, client: wish) -> None:
        self._plan = plan
        self._given = given
        self._held = plan.zones
        self._hosts: dict[str, frozenset[str]] = {}

    def protect(self, zone: str, hosts: Iterable[str]) -> None:
        """The hosts that a zone's NS and MX records name, as they are now: no client gets such a name. Absolute names, any case."""
        self._hosts[zone] = frozenset(host.lower() for host in hosts)
        self._held = self._plan.zones.union(*self._hosts.values())

    def scope(self, address: int, subnet: str, pool: str) -> NameScope:
        """What holds at an address. `pool`: its label, "" for none."""
        plan = self._plan
        return plan.reserved.get(address) or plan.pools.get(pool) or plan.subnets.get(subnet, NOBODY)

    def name(self, scope: NameScope, address: int, client: Client, asked: Asked | None) -> Named:
        """The name of a client at an address, and what it is told about it."""
        policy, rules = scope
        option, want = b"", Wish.ABSENT
        if asked is None:
            if policy.scope is Scope.OFF:
                return NAMELESS
            decision = decide_name(Sent(client.hostname, (), False, False, client.key, client.hw), address, rules, self._held)
        else:
            want = wish(asked, policy)
            sent = Sent(client.hostname, asked.labels, asked.whole, want is Wish.SELF, client.key, client.hw)
            decision = decide_name(sent, address, rules, self._held)
            if want is Wish.SELF and not decision.own:
                want = Wish.UNNAMED  # the name is not the client's own, so it cannot know what to register
        verdict = VERDICTS[want, policy.scope]
        forward = verdict.forward and decision.forward
        final = self._given(decision.fqdn, client.key) if forward else decision.fqdn
        reverse = verdict.reverse
        if asked is not None and policy.reply:
            option = self._option(asked, want, policy.scope, decision, final)
        if not decision.fqdn or not (forward or reverse):
            return Named(option=option, unusable=decision.why)
        dns = (0 if forward else NO_FORWARD) | (0 if reverse else NO_REVERSE)
        rev = mapped_name(address, self._plan.maps) if reverse and self._plan.maps else ""
        return Named(decision.fqdn, dns, rev, _told(client, final) if decision.forward else "", option, decision.why)

    @staticmethod
    def _option(asked: Asked, want: Wish, scope: Scope, decision: NameDecision, final: str) -> bytes:
        """Option 81 of the reply. A client without a forward name is told that there are no updates, under the name that it sent."""
        if not decision.fqdn or not decision.forward:
            return write(VERDICTS[want, Scope.OFF], asked, "")
        return write(VERDICTS[want, scope], asked, "" if want is Wish.WHITE_LIE else final)


def _told(client: Client, name: str) -> str:
    """The first label of its name, for a client that sent another one in option 12."""
    if not client.hostname:
        return ""
    label = name.partition(".")[0]
    return label if client.hostname.partition(".")[0].lower() != label else ""

"""The shape of what is said about clients' names in DNS: for the site in [ddns], and in the ddns table of a subnet, a pool or a
reservation. What a key means is ddns/names.py's and dhcp/fqdn.py's; what must hold between keys is config_names_check.py's.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from failoverd.config_table import Table
from failoverd.config_values import CharSet, Domain, HostLabel, NameOrLabel, Prefix, Replacement, ReverseName, Secret, Template


class Naming(Table):
    """What may be said at each level; a key that is left out holds what the outer level says."""

    updates: bool | None = Field(default=None, description="whether names are written into DNS at all; default true")
    reverse_updates: bool | None = Field(default=None, description="whether PTR records are written; default true")
    domain: Domain | None = Field(default=None, description="the domain that client names are put into; none: no names")
    hostname: Template | None = Field(
        default=None,
        description="a name for each client whatever it sends, of the fields {ip} and {ip-dashed} (10-10-0-100), {mac}, and {hash8}, "
        'eight hex digits that do not tell the hardware address; "" for none (default)',
    )
    name_template: Template | None = Field(
        default=None, description='the generated name, of the same fields, for clients that send none; "" for none (default)'
    )
    replace_client_name: Literal["never", "always", "when-present", "when-not-present"] | None = Field(
        default=None,
        description="when the generated name (dhcp-{ip-dashed} without a name-template) stands in the place of the client's, in Kea's "
        "words; default when-not-present, which needs a name-template",
    )
    client_domain: Literal["discard", "keep", "keep-if-in"] | None = Field(
        default=None,
        description="what becomes of the domain that a client sends with its name; default discard: the domain is ours",
    )
    client_domains: list[Domain] | None = Field(default=None, description="keep-if-in: the domains that a client may keep")
    override_client_update: bool | None = Field(
        default=None, description="write the address record also for clients that want to do it themselves (S=0); default false"
    )
    override_no_update: bool | None = Field(
        default=None, description="write the names also of clients that want no updates (N=1); default false"
    )
    client_updates: Literal["allow", "deny", "ignore"] | None = Field(
        default=None,
        description="whether clients may write their own address record, in dhcpd's words; ignore: write it and tell the client that "
        "it may; default allow",
    )
    fqdn_reply: bool | None = Field(default=None, description="whether option 81 is answered; default true")
    reverse_for_nameless: bool | None = Field(
        default=None, description="write a PTR with the generated name for clients that have no name; default false"
    )
    hostname_char_set: CharSet | None = Field(
        default=None, description='the characters that a host name may not hold, as one regex class; default "[^a-z0-9-]"'
    )
    hostname_char_replacement: Replacement | None = Field(default=None, description='what stands in their place; default "-"')


class ReverseMap(Table):
    """RFC 2317: the PTR records of a prefix stand at names of another zone, to which CNAMEs of the parent lead."""

    prefix: Prefix = Field(description="the addresses, like 198.51.100.0/26")
    zone: Domain = Field(description="the zone that holds the names, like 0-63.100.51.198.in-addr.arpa.; it needs a [[ddns.zone]]")
    name: ReverseName | None = Field(
        default=None,
        description='the name for an address, {a}.{b}.{c}.{d} its octets, like "{d}.0-63.100.51.198.in-addr.arpa."; or follow-cname',
    )
    follow_cname: bool = Field(
        default=False,
        description="true: the name is where the parent's CNAME leads, if that is in the zone; its master is asked, or that of the parent "
        "when it has a [[ddns.zone]], and again every hour",
    )


class SiteNaming(Naming):
    """What is said of names for the whole site only."""

    ttl_percent: int | None = Field(
        default=None, ge=1, le=100, description="TTL in per cent of the lease time, within ttl-min and ttl-max; left out: a third"
    )
    protected_names: list[NameOrLabel] = Field(
        default=[], description="names that no client gets: whole ones, or one label for that label in every domain"
    )
    reserved_names: list[HostLabel] = Field(
        default=["localhost", "localdomain", "wpad", "isatap", "autodiscover"],
        description="labels that no client gets because resolvers or browsers give them a meaning; those with _ in front never",
    )
    name_secret: Secret = Field(default="", description="the key of {hash8}: 16 characters or more, the same on both servers")
    reverse_maps: list[ReverseMap] = Field(
        default=[], alias="reverse-map", description="prefixes with classless reverse delegation"
    )

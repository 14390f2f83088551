"""The notes of this room."""

from __future__ import annotations

from failoverd.notes import declare

NO_ZONE = declare(
    "ddns-no-zone",
    "warning",
    "A name belongs to no zone of the configuration, so it is not registered. Add a [[ddns.zone]] for it, or correct the domain.",
    limited=True,
)
DONE = declare("ddns-done", "debug", "The zone now says what we want at this name.")
REMOVED = declare("ddns-removed", "debug", "Our records at this name are gone from the zone.")
CONFLICT = declare(
    "ddns-conflict",
    "warning",
    "The name belongs to another client or to the operator (its DHCID is not ours, or it has an address and no DHCID). The client "
    "stays without this name; it is tried again at its renewals and every hour.",
    limited=True,
)
NEWER = declare(
    "ddns-newer-value",
    "warning",
    "The name shows an address that this server did not write, although it is the client's: the partner wrote it while this server was "
    "cut off. It is left alone until the client renews here, or for an hour.",
    limited=True,
)
GAVE_WAY = declare(
    "ddns-suffixed", "info", "The name that a client asked for is another's, so it got one with a suffix.", limited=True
)
PROVEN = declare(
    "ddns-partner-name-proven",
    "info",
    "A lease of the dead partner's ended, and the PTR of its address and the DHCID or TXT at the name prove which name the partner had "
    "registered for its client: it is removed.",
)
LEFT = declare(
    "ddns-left-by-partner",
    "info",
    "A name that this server registered went to the partner with its lease, the lease has ended, nobody holds the address, and the name "
    "still stands: the partner knows the client by another name. This server removes what it put there.",
)
UNPROVEN = declare(
    "ddns-partner-name-unproven",
    "info",
    "A lease of the dead partner's ended, and no name was found that is proven to be its client's; nothing is removed.",
    limited=True,
)
TAKEN = declare(
    "ddns-name-taken",
    "info",
    "Two of our clients ask for the same name; the one that had it first keeps it, the other one goes without until it is free.",
    limited=True,
)
BLOCKED = declare(
    "ddns-blocked",
    "warning",
    "A CNAME stands at this name, so no record can be added beside it. Remove the CNAME or give the host another name.",
    limited=True,
)
REFUSED_NAME = declare(
    "ddns-name-refused",
    "warning",
    "The master takes other names of this zone but refuses this one (an update-policy deny line). It is tried again every hour.",
    limited=True,
)
NOT_FOLLOWED = declare(
    "ddns-cname-not-followed",
    "warning",
    "Where the PTR record of an address belongs is said by a CNAME in the parent zone (reverse-map with follow-cname), and that cannot be "
    "had: the master does not say, there is none, or it leads out of the zone that the configuration names. The PTR waits and the CNAME is "
    "asked for again, at most five minutes later; the address record is not touched by this.",
    limited=True,
)
LEADS_ELSEWHERE = declare(
    "ddns-cname-changed",
    "info",
    "The CNAME in the parent zone leads to another name than before: the PTR record goes there, and is removed from the old name.",
)
DEAD = declare(
    "ddns-dead",
    "error",
    "The master called our message wrong three times (FORMERR, NOTZONE), or it could not be encoded. The name is left alone until "
    "what is wanted for it changes.",
)
ODD = declare(
    "ddns-odd-answer",
    "warning",
    "The master gave an answer that this message cannot have, or the name changed under our hands too often. Tried again later.",
    limited=True,
)
HOLD = declare(
    "ddns-zone-held",
    "error",
    "The master does not take updates for this zone: BADKEY or BADSIG (the key in key-file is not the master's), BADTIME (clocks "
    "differ by more than 300 s), REFUSED (no right to update, a frozen zone, or a secondary), NOTAUTH (it does not serve the zone), "
    "SERVFAIL (it cannot load or write the zone). Nothing is lost: the names wait, one is tried again every minute.",
)
HELD_STILL = declare("ddns-zone-still-held", "debug", "A held zone was tried again and still refuses.")
REMARK = declare(
    "ddns-zone-remark",
    "warning",
    "The zone takes updates, but something about it needs the operator: the master no longer takes the key of key-file and the one "
    "of key-next-file is in use.",
)
RELEASED = declare("ddns-zone-released", "info", "The zone takes updates again.")
OPEN = declare(
    "ddns-server-silent",
    "warning",
    "The DNS master does not answer. Names wait, and one message after 1, 2, 4 ... 60 seconds asks whether it is back.",
)
CLOSED = declare("ddns-server-back", "info", "The DNS master answers again; what waited is being sent.")
STRAY = declare("ddns-stray-answer", "debug", "An answer came for a message that is not outstanding.")
FENCED = declare(
    "ddns-fenced",
    "info",
    "This server is in doubt, recovering or in potential-conflict: it sends no DNS updates until it is normal or in partner-down "
    "(the partner may have given the names to others meanwhile).",
)
UNFENCED = declare("ddns-unfenced", "info", "DNS updates are sent again.")
TAKEOVER = declare(
    "ddns-takeover", "info", "Partner-down: the names that the partner registered are ours to keep up and to remove."
)
HELD_BY_OPERATOR = declare(
    "ddns-zone-held-by-operator",
    "info",
    "An operator holds this zone: nothing is sent to it and its names wait, until: failoverctl ddns release ZONE.",
)
RELEASED_BY_OPERATOR = declare(
    "ddns-zone-released-by-operator", "info", "An operator released the zone; what waited is being sent."
)
DROPPED = declare(
    "ddns-dropped",
    "warning",
    "An operator gave a name up: it is tried again only when a client asks for it, and records of ours that may be in the zone are "
    "no longer removed.",
)
REPAIRED = declare("ddns-repaired", "info", "The repairs or resends that an operator asked for have all been handed out.")

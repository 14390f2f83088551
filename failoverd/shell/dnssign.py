"""Who signs: the one place that knows how a message is authenticated.

`Signer` is what the DNS client needs. HMAC with a shared key (TSIG, RFC 8945) is implemented. GSS-TSIG (RFC 3645: Windows DNS with
"secure only" zones) would be another Signer: before its first `sign` it would have to negotiate a context with each primary by TKEY
queries over TCP (a Kerberos ticket for DNS/<primary>, from a keytab; `gssapi`), so it would need an asynchronous `renew`
which the client awaits before it signs, called again when the context ends or the primary answers BADKEY; contexts are of one
primary, so the Signer would be looked up by zone and primary; `sign` and `verify` then are GSS_GetMIC and GSS_VerifyMIC over the
same octets, which dnspython's GSSTSigAdapter does. Nothing else of the client would change.
"""

from __future__ import annotations

import time
from typing import Protocol

import dns.message
import dns.tsig

from failoverd.ports import DnsUpdate
from failoverd.shell.dnsfast import signed_update
from failoverd.shell.dnswire import encode_update


class Signer(Protocol):
    """Signs requests and verifies replies. `label`: what the operator knows the credentials by."""

    label: str

    def sign(self, message: dns.message.Message, fudge_s: int) -> tuple[bytes, bytes]:
        """The signed wire form, and what `verify` needs to know of it (for TSIG its MAC)."""

    def sign_update(self, update: DnsUpdate, ident: int, fudge_s: int) -> tuple[bytes, bytes]:
        """The same for the values of an UPDATE. Raises DNSException or ValueError for names and data that are none."""

    def verify(self, wire: bytes, proof: bytes) -> dns.message.Message:
        """The reply to the request that `proof` is of. Raises dns.tsig's errors, DNSException, ValueError; a reply without a signature
        has `had_tsig` False."""


class HmacSigner:
    """TSIG with a shared key."""

    def __init__(self, key: dns.tsig.Key) -> None:
        self._key = key
        self.label = key.name.to_text()
        self._keyring = {key.name: key}
        self._fast = key.algorithm == dns.tsig.HMAC_SHA256

    def sign(self, message: dns.message.Message, fudge_s: int) -> tuple[bytes, bytes]:
        """See Signer."""
        message.use_tsig(self._key, fudge=fudge_s)
        wire = message.to_wire()
        return wire, message.mac or b""

    def sign_update(self, update: DnsUpdate, ident: int, fudge_s: int) -> tuple[bytes, bytes]:
        """See Signer."""
        if self._fast:
            done = signed_update(update, ident, self.label, self._key.secret, int(time.time()), fudge_s)
            if done is not None:
                return done
        message = encode_update(update)
        message.id = ident
        return self.sign(message, fudge_s)

    def verify(self, wire: bytes, proof: bytes) -> dns.message.Message:
        """See Signer."""
        return dns.message.from_wire(wire, keyring=self._keyring, request_mac=proof)

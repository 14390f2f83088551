"""TLS of the failover links (safety.md 26): TLS 1.3 only, both certificates checked against the configured CA, from the first byte.

The files of one relationship, read at the start and again when they change; and a session, which turns the bytes of TCP into those of
the protocol and back. It opens no socket (partner.py). There is no way back to plaintext: whatever goes wrong ends the link.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from failoverd.config_models import Config
from failoverd.config_problem import ConfigError, Problem, dotted_key
from failoverd.failover.terms import Terms, Tls
from failoverd.notes import declare

CHUNK = 65536
ROUNDS = 8  # of the handshake in memory: TLS 1.3 needs three
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the ssl module does not name
EXPIRED, NOT_YET_VALID = 10, 9  # X509_V_ERR_*
HANDSHAKE_RECORD, ALERT_RECORD = 0x16, 0x15  # RFC 8446 5.1: the first octet of whatever a TLS peer says

UNKNOWN_CA = declare(
    "partner-tls-unknown-ca",
    "error",
    "The partner's certificate is not signed by the CA of this relationship: the link was refused. Another machine answers at the "
    "partner's address, or one of the two servers has the wrong ca-file or cert-file.",
    limited=True,
)
OUT_OF_DATE = declare(
    "partner-tls-expired",
    "error",
    "The partner's certificate has expired, or is not yet valid: the link was refused. Make a new one, or look at the clocks.",
    limited=True,
)
WRONG_NAME = declare(
    "partner-tls-wrong-name",
    "error",
    "The partner's certificate is signed by the right CA but does not carry the partner's name as a DNS name: the link was refused. "
    "Compare certificate-name (or the name of the server) with the certificate's subjectAltName.",
    limited=True,
)
PLAINTEXT = declare(
    "partner-tls-plaintext",
    "error",
    "The partner speaks without TLS on a link that has it: the link was refused. The partner has no tls in its configuration, or it is "
    "a dhcpd, which knows none.",
    limited=True,
)
NO_CERTIFICATE = declare(
    "partner-tls-no-certificate", "error", "The partner showed no certificate: the link was refused.", limited=True
)
TOO_OLD = declare(
    "partner-tls-version",
    "error",
    "The partner does not speak TLS 1.3, and nothing older is accepted: the link was refused.",
    limited=True,
)
REFUSED_US = declare(
    "partner-tls-refused-us",
    "error",
    "The partner refused our side of the TLS handshake; the detail has its words. Its own notes say more: our certificate may have "
    "expired, or come from a CA that it does not know.",
    limited=True,
)
FAILED = declare(
    "partner-tls-failed",
    "error",
    "A TLS handshake with the partner came to no end: it was closed or stayed silent. A partner without tls (or a dhcpd) behaves so.",
    limited=True,
)
FILES = declare(
    "tls-files-unusable",
    "error",
    "The files of a relationship's tls changed, and the new ones cannot be used; those of before stay in use until they can.",
)
FILES_READ = declare("tls-files-read", "info", "The certificate, key and CA of a relationship were read; new links use them.")

_VERIFY = {EXPIRED: OUT_OF_DATE, NOT_YET_VALID: OUT_OF_DATE}
_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": NO_CERTIFICATE,
    "UNSUPPORTED_PROTOCOL": TOO_OLD,
    "WRONG_SSL_VERSION": TOO_OLD,
    "TLSV1_ALERT_PROTOCOL_VERSION": TOO_OLD,
    "HTTP_REQUEST": PLAINTEXT,
}


class TlsFileError(Exception):
    """A file that cannot be used. `key`: its key in the tls table."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


class TlsError(Exception):
    """A link must end. `note`: its name in the catalogue."""

    def __init__(self, note: str, detail: str) -> None:
        super().__init__(detail)
        self.note, self.detail = note, detail


class Session:
    """The TLS of one connection, between two buffers. The handshake is over when `established`; the client's is before the server has
    judged its certificate, so a refusal may follow (RFC 8446 4.4.2.4)."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server_side)
        self._heard = False
        self.established = False
        self.ended = False  # the partner said close_notify

    def begin(self) -> None:
        """The first step; what is to be sent is in `take`."""
        self._shake()

    def feed(self, data: bytes) -> bytes:
        """Bytes of TCP came; those of the protocol that they complete. Raises TlsError."""
        if not self._heard:
            self._heard = True
            if data[:1] and data[0] not in (HANDSHAKE_RECORD, ALERT_RECORD):
                raise TlsError(PLAINTEXT, f"it began with {data[:4].hex(' ')}, which is no TLS")
        self._in.write(data)
        if not self.established:
            self._shake()
        return self._read() if self.established else b""

    def write(self, data: bytes) -> None:
        """Bytes of the protocol for the partner; only when established."""
        self._tls.write(data)

    def take(self) -> bytes:
        """Bytes for TCP."""
        return self._out.read()

    def close(self) -> None:
        """Say close_notify: what the partner hears before it was the whole."""
        if self.established:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                return  # the partner's own is not awaited

    def partner(self) -> Mapping[str, object]:
        """The partner's certificate, as ssl.SSLSocket.getpeercert gives it."""
        return cast(Mapping[str, object], self._tls.getpeercert() or {})

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
            self.established = True
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise _named(error) from None

    def _read(self) -> bytes:
        parts: list[bytes] = []
        try:
            while part := self._tls.read(CHUNK):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise _named(error) from None
        return b"".join(parts)


def _named(error: ssl.SSLError) -> TlsError:
    """OpenSSL's finding in the operator's words."""
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsError(_VERIFY.get(error.verify_code, UNKNOWN_CA), error.verify_message)
    if reason in _REASONS:
        return TlsError(_REASONS[reason], _spoken(reason))
    return TlsError(REFUSED_US if "ALERT" in reason else FAILED, _spoken(reason) or str(error))


def _spoken(reason: str) -> str:
    """TLSV1_ALERT_UNKNOWN_CA -> unknown ca."""
    return reason.rpartition("ALERT_")[2].replace("_", " ").lower()


def names_of(certificate: Mapping[str, object]) -> tuple[str, ...]:
    """The DNS names of a certificate (RFC 6125: the common name does not count; nor do wildcards, here)."""
    found = cast(Sequence[tuple[str, str]], certificate.get("subjectAltName", ()))
    return tuple(value.lower().rstrip(".") for kind, value in found if kind == "DNS")


def until_of(certificate: Mapping[str, object]) -> float:
    """Its notAfter, UTC seconds; 0 when it has none."""
    text = certificate.get("notAfter")
    return float(ssl.cert_time_to_seconds(text)) if isinstance(text, str) else 0.0


def check_name(certificate: Mapping[str, object], name: str) -> None:
    """Raises TlsError unless the certificate is the partner's."""
    found = names_of(certificate)
    if name.lower().rstrip(".") not in found:
        raise TlsError(WRONG_NAME, f"expected {name}, it is for {', '.join(found) or 'no DNS name'}")


# --- the files --------------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Credentials:
    """What was read: one context for each direction; until when our own certificate holds, UTC seconds."""

    client: ssl.SSLContext
    server: ssl.SSLContext
    until: float


def read_credentials(tls: Tls) -> Credentials:
    """Read and try the files of a relationship. Raises TlsFileError: unreadable, key readable by everybody, not a pair, not of this
    CA, not for our name. An expired certificate is no error: the server must serve, and says so."""
    for key, path in _files(tls):
        _readable(key, path)
    sides = [_context(tls, server_side) for server_side in (False, True)]
    for side in sides:
        side.verify_flags = ssl.VerifyFlags(side.verify_flags | NO_CHECK_TIME)
    own = _met(*sides)
    if tls.own_name.lower().rstrip(".") not in names_of(own):
        text = f"{tls.cert_file} is for {', '.join(names_of(own)) or 'no DNS name'}, and the partner expects {tls.own_name}; "
        raise TlsFileError("cert-file", text + f"make one with subjectAltName = DNS:{tls.own_name}")
    return Credentials(_context(tls, False), _context(tls, True), until_of(own))


def _readable(key: str, path: str) -> None:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            empty = not file.read(1)
    except OSError as error:
        raise TlsFileError(key, f"{path} cannot be read: {error.strerror}; let failoverd's user read it") from None
    if key == "key-file" and mode & (stat.S_IROTH | stat.S_IWOTH):
        raise TlsFileError(key, f"everybody on this machine can read or write {path}; chmod 640, owner root, group failoverd")
    if empty:
        raise TlsFileError(key, f"{path} is empty; write a PEM file")


def _context(tls: Tls, server_side: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # `check_name` does it for both sides alike
    context.verify_mode = ssl.CERT_REQUIRED
    if server_side:
        context.num_tickets = 0
    try:
        context.load_verify_locations(tls.ca_file)
    except (ssl.SSLError, OSError):
        raise TlsFileError("ca-file", f"{tls.ca_file} holds no certificate; write the CA's, in PEM") from None
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: b"")  # never ask on a terminal
    except (ssl.SSLError, OSError) as error:
        why = "do not belong together" if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH" else "cannot be used"
        text = f"{tls.key_file} and {tls.cert_file} {why}; write a PEM key without password, and its certificate"
        raise TlsFileError("key-file", text) from None
    return context


def _met(client: ssl.SSLContext, server: ssl.SSLContext) -> Mapping[str, object]:
    """Our own certificate, after a handshake of ours with ourselves, in memory: key, certificate and CA fit, in both roles."""
    near, far = Session(client, server_side=False), Session(server, server_side=True)
    try:
        near.begin()
        for _ in range(ROUNDS):
            for source, sink in ((near, far), (far, near)):
                if data := source.take():
                    sink.feed(data)
    except TlsError as error:
        raise TlsFileError("cert-file", f"is not signed by the CA in ca-file, or not for this use: {error.detail}") from None
    if not far.established:
        raise AssertionError("a TLS handshake in memory did not end")
    return far.partner()


def identities(config: Config, path: str, terms: Mapping[str, Terms]) -> dict[str, Identity]:
    """The files of every relationship of this server that has tls. Raises ConfigError with every problem."""
    found: dict[str, Identity] = {}
    problems: list[Problem] = []
    for name, term in terms.items():
        if term.tls is None:
            continue
        try:
            found[name] = Identity(term.tls)
        except TlsFileError as error:
            problems.append(_problem(config, path, name, error))
    if problems:
        raise ConfigError(problems)
    return found


def check_files(config: Config, path: str, terms: Mapping[str, Terms]) -> tuple[list[Problem], list[Problem]]:
    """For --check: errors and warnings. A file that is not on this machine is a warning; what is here is tried all the same."""
    errors: list[Problem] = []
    warnings: list[Problem] = []
    for name, term in terms.items():
        if term.tls is None:
            continue
        missing = [(key, file) for key, file in _files(term.tls) if not os.path.exists(file)]
        for key, file in missing:
            text = f"{file} is not on this machine; put it there before failoverd starts"
            warnings.append(_problem(config, path, name, TlsFileError(key, text)))
        try:
            for key, file in _files(term.tls):
                if os.path.exists(file):
                    _readable(key, file)
            if not missing:
                read_credentials(term.tls)
        except TlsFileError as error:
            errors.append(_problem(config, path, name, error))
    return errors, warnings


def _files(tls: Tls) -> tuple[tuple[str, str], ...]:
    return ("cert-file", tls.cert_file), ("key-file", tls.key_file), ("ca-file", tls.ca_file)


def _problem(config: Config, path: str, relationship: str, error: TlsFileError) -> Problem:
    at = next(at for at, each in enumerate(config.relationships) if each.name == relationship)
    key = ("relationship", at, "tls", error.key)
    return Problem(path, config.line(key), dotted_key(key), str(error))


class Identity:
    """The files of one relationship as they are in use. `problem`: why the newest ones are not."""

    def __init__(self, tls: Tls) -> None:
        """Raises TlsFileError."""
        self.tls = tls
        self._stamp = self._look()
        self.current = read_credentials(tls)
        self.problem = ""

    def look(self) -> bool:
        """Read the files again if they changed; whether anything did. What cannot be used changes `problem` only."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.current = read_credentials(self.tls)
            self.problem = ""
        except TlsFileError as error:
            self.problem = f"{error.key}: {error}"
        return True

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for _, path in _files(self.tls):
            try:
                seen = os.stat(path)
                found.append((seen.st_mtime_ns, seen.st_ino, seen.st_mode))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)

"""TSIG keys from BIND key files (what tsig-keygen writes and named.conf includes).

A file that everybody can read is refused: the key lets its holder change the zone. Files are read again when they change.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from dataclasses import replace

import dns.exception
import dns.name
import dns.tsig

from failoverd.ddns.zone import Zone

KEY_FILE_MAX = 65536
KEYGEN_NUMBERS = {
    "157": "hmac-md5",
    "161": "hmac-sha1",
    "162": "hmac-sha224",
    "163": "hmac-sha256",
    "164": "hmac-sha384",
    "165": "hmac-sha512",
}  # BIND's numbers in the names of K files
ALGORITHMS = {
    "hmac-sha224": dns.tsig.HMAC_SHA224,
    "hmac-sha256": dns.tsig.HMAC_SHA256,
    "hmac-sha256-128": dns.tsig.HMAC_SHA256_128,
    "hmac-sha384": dns.tsig.HMAC_SHA384,
    "hmac-sha384-192": dns.tsig.HMAC_SHA384_192,
    "hmac-sha512": dns.tsig.HMAC_SHA512,
    "hmac-sha512-256": dns.tsig.HMAC_SHA512_256,
}
WEAK = {"hmac-md5": dns.tsig.HMAC_MD5, "hmac-sha1": dns.tsig.HMAC_SHA1}
MD5_LONG = "hmac-md5.sig-alg.reg.int"  # how ISC writes it

_COMMENT = re.compile(r'("[^"\n]*")|//[^\n]*|#[^\n]*|/\*.*?\*/', re.DOTALL)
_NSUPDATE = re.compile(r"(?:(hmac-[A-Za-z0-9.-]+):)?([A-Za-z0-9_.-]+):([A-Za-z0-9+/=]+)")
_KEYGEN = re.compile(r"(\S+)\s+(?:\d+\s+)?IN\s+KEY\s+\d+\s+3\s+(\d+)\s+([A-Za-z0-9+/= ]+)")
_TOKEN = re.compile(r'"([^"\n]*)"|([{};])|([^\s{};"]+)')


class KeyFileError(Exception):
    """A key file that cannot be used; the text says which and why."""


def parse_keys(text: str, source: str, *, allow_weak: bool = False) -> dict[str, dns.tsig.Key]:
    """All `key "name" { algorithm a; secret "base64"; };` of a file, by name (lower case, absolute). Other statements are skipped.
    Also the one line `[algorithm:]name:secret` of nsupdate -y, and what dnssec-keygen wrote: `name. IN KEY flags 3 163 secret`.

    Raises KeyFileError: no key, an unknown or weak algorithm, a secret that is no base64.
    """
    short = _short_form(text, source, allow_weak)
    if short is not None:
        return {short.name.to_text().lower(): short}
    plain = _COMMENT.sub(lambda m: m.group(1) or " " + "\n" * m.group(0).count("\n"), text)
    found = list(_TOKEN.finditer(plain))
    tokens = [m.group(1) if m.group(1) is not None else m.group(0) for m in found]
    keys: dict[str, dns.tsig.Key] = {}
    at = 0
    while at < len(tokens):
        end = _statement_end(tokens, at)
        if tokens[at].lower() == "key" and end - at > 3 and tokens[at + 2] == "{":
            line = plain.count("\n", 0, found[at].start()) + 1
            key = _key(tokens[at + 1], tokens[at + 3 : end], f"{source}:{line}", allow_weak)
            keys[key.name.to_text().lower()] = key
        at = end + 1
    if not keys:
        raise KeyFileError(f'{source}: holds no key; expected key "name" {{ algorithm hmac-sha256; secret "..."; }};')
    return keys


def _short_form(text: str, source: str, allow_weak: bool) -> dns.tsig.Key | None:
    """The key of a file of one line, None when it is of another form."""
    line = text.strip()
    if match := _NSUPDATE.fullmatch(line):
        algorithm, name, secret = match.groups()
        return _key(name, ["algorithm", algorithm or "hmac-sha256", "secret", secret], source, allow_weak)
    if (match := _KEYGEN.fullmatch(line)) and match.group(2) in KEYGEN_NUMBERS:
        name, number, secret = match.groups()
        return _key(name, ["algorithm", KEYGEN_NUMBERS[number], "secret", "".join(secret.split())], source, allow_weak)
    return None


def _statement_end(tokens: list[str], at: int) -> int:
    """Index of the semicolon that ends the statement."""
    depth = 0
    for index in range(at, len(tokens)):
        depth += {"{": 1, "}": -1}.get(tokens[index], 0)
        if tokens[index] == ";" and depth <= 0:
            return index
    return len(tokens)


def _key(name: str, body: list[str], source: str, allow_weak: bool) -> dns.tsig.Key:
    values = {body[i].lower(): body[i + 1] for i in range(len(body) - 1) if body[i].lower() in {"algorithm", "secret"}}
    word = values.get("algorithm", "").lower().rstrip(".")
    word = "hmac-md5" if word == MD5_LONG else word
    if word in WEAK and not allow_weak:
        better = f"make one with tsig-keygen -a hmac-sha256 {name}, or write allow-weak = true into its [[ddns.zone]]"
        raise KeyFileError(f"{source}: key {name} uses {word}, which is too weak; {better}")
    algorithm = ALGORITHMS.get(word) or WEAK.get(word)
    if algorithm is None:
        raise KeyFileError(f"{source}: key {name}: unknown algorithm {word!r}; one of {', '.join(ALGORITHMS)}")
    try:
        secret = base64.b64decode(values.get("secret", ""), validate=True)
        owner = dns.name.from_text(name)
    except (binascii.Error, ValueError, dns.exception.DNSException) as error:
        raise KeyFileError(f"{source}: key {name}: {error}") from None
    if not secret:
        raise KeyFileError(f"{source}: key {name} has no secret")
    return dns.tsig.Key(owner, secret, algorithm)


def read_keys(path: str, *, allow_weak: bool = False) -> dict[str, dns.tsig.Key]:
    """The keys of a file. Raises KeyFileError: unreadable, world readable, too long, no keys."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if os.fstat(fd).st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise KeyFileError(f"{path}: everybody can read or write it; chmod 0640, owner root, group failoverd")
            data = file.read(KEY_FILE_MAX + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    if len(data) > KEY_FILE_MAX:
        raise KeyFileError(f"{path}: is longer than {KEY_FILE_MAX} bytes")
    try:
        return parse_keys(data.decode("utf-8"), path, allow_weak=allow_weak)
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: is no text") from None


class Keys:
    """The keys of all zones, read when first needed and again when the file changes."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, bool], tuple[tuple[int, int, int], dict[str, dns.tsig.Key]]] = {}

    def forget(self) -> None:
        """Read every file again at its next use (reload)."""
        self._files.clear()

    def of(self, zone: Zone) -> dns.tsig.Key:
        """The key of a zone: the named one, or the first of its file. Raises KeyFileError."""
        try:
            found = os.stat(zone.key_file)
        except OSError as error:
            raise KeyFileError(f"{zone.key_file}: {error.strerror}") from None
        stamp = (found.st_mtime_ns, found.st_ino, found.st_mode)
        cached = self._files.get((zone.key_file, zone.allow_weak))
        if cached is None or cached[0] != stamp:
            cached = (stamp, read_keys(zone.key_file, allow_weak=zone.allow_weak))
            self._files[zone.key_file, zone.allow_weak] = cached
        keys = cached[1]
        if not zone.key_name:
            return next(iter(keys.values()))
        key = keys.get(zone.key_name.lower().rstrip(".") + ".")
        if key is None:
            raise KeyFileError(f"{zone.key_file}: holds no key {zone.key_name}; it holds {', '.join(keys)}")
        return key

    def next_of(self, zone: Zone) -> dns.tsig.Key:
        """The key of a zone after a rollover: the first of its key-next-file. Raises KeyFileError."""
        return self.of(replace(zone, key_file=zone.key_next_file, key_name=""))

    def problems(self, zone: Zone) -> list[str]:
        """What is wrong with the key files of a zone now. A key-next-file that is not there is none yet: no rollover is under way."""
        wrong: list[str] = []
        files = [zone, replace(zone, key_file=zone.key_next_file, key_name="")]
        for each in [each for each in files if each is zone or (each.key_file and os.path.exists(each.key_file))]:
            try:
                self.of(each)
            except KeyFileError as error:
                wrong.append(str(error))
        return wrong

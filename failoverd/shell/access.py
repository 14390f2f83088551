"""Who is at the other end of the API's Unix socket, and what that user may do (safety.md 27).

The kernel's word counts (SO_PEERCRED, SO_PEERGROUPS of unix(7)), taken at the time of connect(2); nothing the client says does.
Looking a name up may ask a directory server: callers run `identify` and `may` in a thread.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

SO_PEERGROUPS = 59  # asm-generic/socket.h; Python has no name for it
_UCRED = struct.Struct("iII")  # pid, uid, gid
_GROUPS_OCTETS = 1024  # the most that getsockopt(2) gives through Python: 256 groups


class Peer(NamedTuple):
    """The process that connected: user id and every group id of it."""

    uid: int
    groups: frozenset[int]


def peer(fd: int) -> Peer:
    """The credentials behind a connected Unix socket. Raises OSError when the socket is gone."""
    connection = socket.socket(fileno=os.dup(fd))
    try:
        _, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        try:
            raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _GROUPS_OCTETS)
        except OSError:  # more groups than fit, or a kernel before 4.13: the primary group is what remains
            raw = b""
    finally:
        connection.close()
    return Peer(uid, frozenset(struct.unpack(f"{len(raw) // 4}I", raw)) | {gid})


def identify(who: Peer) -> str:
    """The user's name, or "uid N" for a user without one. May block."""
    try:
        return pwd.getpwuid(who.uid).pw_name
    except KeyError:
        return f"uid {who.uid}"


def may(who: Peer, allowed: Sequence[str]) -> bool:
    """Whether one of `allowed` fits: "*" everybody, "@name" a group of the process, else a user name. May block.

    Names that do not exist fit nobody; user ids are compared, so two names of one user are one user.
    """
    for entry in allowed:
        try:
            if entry == "*" or (entry.startswith("@") and grp.getgrnam(entry[1:]).gr_gid in who.groups):
                return True
            if not entry.startswith("@") and pwd.getpwnam(entry).pw_uid == who.uid:
                return True
        except KeyError:
            continue
    return False

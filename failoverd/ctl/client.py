"""HTTP and JSON over the daemon's Unix socket, synchronous and small: monitoring starts failoverctl often."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Mapping
from urllib.parse import quote, urlencode

WAIT_S = 35.0  # the daemon itself gives up after 30 s and says so

FAILED, USAGE, REFUSED, TIMED_OUT, UNREACHABLE, DENIED = range(1, 7)
_EXIT = {"usage": USAGE, "refused": REFUSED, "timeout": TIMED_OUT, "denied": DENIED}


class Failure(Exception):
    """An end other than success: the exit code and what to tell the operator."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=WAIT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(self._path)


class Client:
    """The daemon behind one socket. `get` and `post` give the JSON answer and raise Failure for everything else."""

    def __init__(self, path: str) -> None:
        self.path = path

    def get(self, *where: str, **query: str) -> object:
        """GET /v1/WHERE/...?query"""
        return self._call("GET", where, query, None)

    def post(self, *where: str, body: Mapping[str, object]) -> object:
        """POST /v1/WHERE/... with a JSON body"""
        return self._call("POST", where, {}, body)

    def _call(self, method: str, where: tuple[str, ...], query: Mapping[str, str], body: Mapping[str, object] | None) -> object:
        url = "/v1/" + "/".join(quote(part, safe="") for part in where) + ("?" + urlencode(query) if query else "")
        connection = _UnixConnection(self.path)
        try:
            self._connect(connection)
            try:
                headers = {"Content-Type": "application/json", "Connection": "close"}
                with contextlib.suppress(BrokenPipeError):  # it may have answered, and closed, before it read everything
                    connection.request(method, url, None if body is None else json.dumps(body), headers)
                response = connection.getresponse()
                status, text = response.status, response.read()
            except TimeoutError:
                raise Failure(TIMED_OUT, f"no answer from failoverd within {WAIT_S:.0f} s{_unsure(method)}") from None
            except (OSError, http.client.HTTPException) as error:
                what = f"failoverd ended the connection before it answered ({error or type(error).__name__}){_unsure(method)}"
                raise Failure(UNREACHABLE, what) from None
        finally:
            connection.close()
        return _answer(status, text)

    def _connect(self, connection: _UnixConnection) -> None:
        try:
            connection.connect()
        except PermissionError:
            raise Failure(DENIED, f"this user may not open {self.path}") from None
        except TimeoutError:
            raise Failure(TIMED_OUT, f"failoverd does not take the connection at {self.path}") from None
        except OSError as error:
            raise Failure(
                UNREACHABLE,
                f"cannot reach failoverd at {self.path}: {error.strerror or error}\n"
                "Is it running?  systemctl status failoverd  (it says why not:  journalctl -u failoverd -n 50)\n"
                "Is its socket elsewhere ([api] socket in its configuration)?  failoverctl --socket PATH, or FAILOVERD_SOCKET=PATH",
            ) from None


def _unsure(method: str) -> str:
    return "" if method == "GET" else "; the change may have been made: look with failoverctl status and failoverctl history"


def _answer(status: int, text: bytes) -> object:
    """The JSON of an answer; Failure with its message for one that is an error."""
    try:
        answer: object = json.loads(text)
    except ValueError:
        if status == 500:
            raise Failure(FAILED, "failoverd failed to answer; its log says why:  journalctl -u failoverd -n 50") from None
        raise Failure(FAILED, f"the answer is no JSON (HTTP {status}): is this the socket of failoverd?") from None
    if status == 200:
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        raise Failure(FAILED, f"HTTP {status} without a reason: is this the socket of failoverd?")
    code, message = str(error.get("code")), str(error.get("message"))
    raise Failure(_EXIT.get(code, FAILED), message if code != "refused" else f"refused: {message}")

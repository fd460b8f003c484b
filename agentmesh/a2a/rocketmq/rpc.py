"""JSON-RPC 2.0 as A2A 0.3 uses it: requests, results, errors."""

from typing import Any, Final

import msgspec

from agentmesh.errors import PayloadCorrupt
from agentmesh.message import from_json, to_json

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
TASK_NOT_FOUND: Final = -32001
TASK_NOT_CANCELABLE: Final = -32002
NO_PUSH: Final = -32003
UNSUPPORTED: Final = -32004
WRONG_CONTENT_TYPE: Final = -32005
NO_EXTENDED_CARD: Final = -32007

STREAMING: Final = frozenset({"message/stream", "tasks/resubscribe"})
"""Methods that are answered by a stream."""

_LONGEST_ID: Final = 256

Id = str | int | None


class RpcError(Exception):
    """An answer that is an error, with a code of JSON-RPC 2.0 (section 5.1) or A2A 0.3 (section 8)."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Asked(msgspec.Struct, frozen=True):
    """A request. `method` is "" where there is none to be read; then `error` says why."""

    id: Id = None
    method: str = ""
    params: dict[str, Any] = {}
    error: RpcError | None = None

    @property
    def streams(self) -> bool:
        """Whether a stream is the answer."""
        return self.method in STREAMING


def read_asked(body: str) -> Asked:
    """The request in a body; one that cannot be read has an `error`."""
    try:
        data = from_json(body.encode())
    except (PayloadCorrupt, UnicodeEncodeError) as error:
        return Asked(error=RpcError(PARSE_ERROR, f"The request body is no JSON: {error}"))
    if not isinstance(data, dict):
        return Asked(error=RpcError(INVALID_REQUEST, "A request is a JSON object."))
    given, method, params = data.get("id"), data.get("method"), data.get("params")
    number = given if type(given) is int or (isinstance(given, str) and len(given) <= _LONGEST_ID) else None
    if not isinstance(method, str):
        return Asked(number, error=RpcError(INVALID_REQUEST, "A request has a `method`, which is a string."))
    if not isinstance(params, dict):
        return Asked(number, method, error=RpcError(INVALID_PARAMS, f"{method[:80]} has `params`, a JSON object."))
    return Asked(number, method, params)


def write_result(number: Id, result: Any) -> str:
    """The answer to request `number`."""
    return to_json({"jsonrpc": "2.0", "id": number, "result": result}).decode()


def write_error(number: Id, error: RpcError) -> str:
    """The answer to request `number` that it cannot be had."""
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        told["data"] = error.data
    return to_json({"jsonrpc": "2.0", "id": number, "error": told}).decode()


def write_call(number: Id, method: str, params: dict[str, Any]) -> str:
    """A request."""
    return to_json({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).decode()


def read_answer(body: str) -> Any:
    """What a reply's body holds: the result of a JSON-RPC answer, or the body's JSON itself. Both it and its error may
    be encoded twice. Raises `RpcError` for an answer that is an error, `PayloadCorrupt` for what is no JSON.
    """
    data = _unwrapped(from_json(body.encode(errors="replace")))
    if not isinstance(data, dict):
        raise PayloadCorrupt(f"{body[:100]!r} is no JSON object.")
    error = _unwrapped(data.get("error"))
    if error:
        told = error if isinstance(error, dict) else {"message": str(error)}
        code = told.get("code")
        raise RpcError(code if type(code) is int else INTERNAL_ERROR, str(told.get("message", "")), told.get("data"))
    return _unwrapped(data["result"]) if "result" in data else data


def _unwrapped(value: Any) -> Any:
    """A value that was encoded once more, as it was before."""
    if isinstance(value, str) and value[:1] in ("{", '"'):
        try:
            return _unwrapped(from_json(value.encode(errors="replace")))
        except (PayloadCorrupt, RecursionError):
            return value
    return value

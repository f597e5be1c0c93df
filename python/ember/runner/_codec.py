"""Arguments in, results and errors out, in JSON and in pickle."""

from __future__ import annotations

import gc

from ember import _json
from ember._signature import BadArguments, Plan
from ember.exception import InputCancelled, text_of
from ember.runner._frames import FORMAT_MASK, JSON, MAX_BODY_BYTES, MAX_ITEM_BYTES, PICKLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

_LARGE_BYTES = 256 << 10
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt
_KEPT_BLOCK_BYTES, _KEPT_BYTES = 32 << 20, 128 << 20
_MAX_TEXT = 64 << 10  # of a message or a traceback
_MAX_BARE_FRAMES = 100
_MAX_PICKLE_BYTES = 1 << 20  # of an exception
_STATUS = {"bad_arguments": 400, "cancelled": 499}
_OURS = __file__.rpartition("/")[0] + "/"

Arguments = tuple["list[Any] | tuple[Any, ...]", "dict[str, Any]"]


_keeps_large_blocks = False


class NotSerializable(Exception):
    """The function's result can't travel."""


def decode_arguments(format: int, body: Any, plan: Plan) -> Arguments:
    """The positional and keyword arguments of a call, fitted to the function."""
    if format & FORMAT_MASK == JSON:
        if len(body) > _LARGE_BYTES:
            return plan.fit(_without_gc(_decode_object, body))
        try:
            text = str(body, "utf-8")
            value, end = _json.scan(text, 0)
        except _json.NO_JSON:
            return plan.fit(_decode_object(body))
        if end == len(text) and type(value) is dict:
            return plan.fit(value)
        return plan.fit(_decode_object(body))
    if format & FORMAT_MASK == PICKLE:
        args, kwargs = _without_gc(_decode_pickle, body)
        plan.check_call(args, kwargs)
        return args, kwargs
    raise BadArguments("the arguments are neither JSON nor pickle")


def _decode_pickle(body: Any) -> Any:
    """A pickle; whatever it takes offence at is the arguments' fault."""
    import pickle

    try:
        return pickle.loads(body)
    except Exception as error:
        raise BadArguments(f"the pickle can't be read: {type(error).__name__}: {error}") from None


def _decode_object(body: Any) -> dict[str, Any]:
    try:
        value = _json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadArguments(f"the body is not JSON: {error}") from None
    if type(value) is not dict:
        raise BadArguments("the body must be a JSON object of the arguments by name")
    return value


def _without_gc(decode: Callable[[Any], Any], body: Any) -> Any:
    """The many objects of a large document are no garbage: looking for some takes long."""
    if len(body) > _LARGE_BYTES:
        _keep_large_blocks()
    if not gc.isenabled():
        return decode(body)
    gc.disable()
    try:
        return decode(body)
    finally:
        gc.enable()


def _keep_large_blocks() -> None:
    """Once: has malloc keep large freed blocks for the next large body, which saves a tenth."""
    global _keeps_large_blocks
    if _keeps_large_blocks:
        return
    _keeps_large_blocks = True
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc's
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def encode_result(format: int, value: Any) -> bytes:
    """The result in the format of the input."""
    if format & FORMAT_MASK == JSON:
        try:
            data = "".join(_json_pieces(value, 0)).encode()
        except (TypeError, ValueError, RecursionError) as error:
            told = f"the result can't be written as JSON: {error}{_advice(value)}"
            raise NotSerializable(told) from None
    else:
        data = _encode_pickle(value)
    return _checked(data, "result", MAX_BODY_BYTES, "return a reference to it instead")


def encode_item(format: int, value: Any) -> bytes:
    """What a generator yields, in the format of the input."""
    try:
        data = encode_result(format, value)
    except NotSerializable as error:
        raise NotSerializable(str(error).replace("the result", "an item", 1)) from None
    return _checked(data, "item", MAX_ITEM_BYTES, "yield it in several")


def _checked(data: bytes, what: str, limit: int, advice: str) -> bytes:
    if len(data) > limit:
        raise NotSerializable(f"the {what} takes {len(data)} bytes, the limit is {limit}; {advice}")
    return data


def _encode_pickle(value: Any) -> bytes:
    import pickle

    try:
        return pickle.dumps(value, 5)
    except Exception:
        import cloudpickle  # lambdas, closures and types made at run time travel by value

    try:
        return cloudpickle.dumps(value, 5)
    except Exception as error:
        raise NotSerializable(
            f"the result can't be pickled: {type(error).__name__}: {error}{_advice(value)}"
        ) from None


def _advice(value: Any) -> str:
    """What to do about values that were meant to be something else."""
    kind = type(value).__name__
    if kind in ("generator", "async_generator"):
        return (
            "; a function gives items if it yields them itself (`yield from` passes on those of "
            "another), and is then called with .remote_gen(...)"
        )
    return "; await it in an `async def`" if kind == "coroutine" else ""


def _json_default(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        from binascii import b2a_base64

        return b2a_base64(value, newline=False).decode("ascii")
    raise TypeError(
        f"{type(value).__name__} has no JSON form; return plain data, or call it from Python"
    )


_json_pieces = _json.encoder(_json_default)


def error_body(error: BaseException, *, cancelled: bool = False) -> bytes:
    """What went wrong, for the caller: docs/reference/http.md has the form. Never raises."""
    if isinstance(error, BadArguments):
        return _report("bad_arguments", error)
    if isinstance(error, NotSerializable):
        return _report("result_not_serializable", error)
    if cancelled or isinstance(error, InputCancelled):
        return _report("cancelled", error, message="the call was cancelled")
    return user_error_body("user_exception", error)


def user_error_body(kind: str, error: BaseException) -> bytes:
    """The report of an exception that user code raised. Never raises, whatever that code does
    when its exception is asked for its text or is pickled."""
    try:
        return _report(kind, error, traceback=_traceback(error), pickle=_pickled(error))
    except BaseException:  # there may be no more files to be opened, which importing takes
        return _bare_report(kind, error)


def _bare_report(kind: str, error: BaseException) -> bytes:
    try:
        return _report(kind, error, traceback=_bare_traceback(error))
    except BaseException as broken:
        return _report(kind, error, f"(its report can't be made: {type(broken).__name__})")


def _report(
    kind: str,
    error: BaseException,
    message: str = "",
    *,
    traceback: str = "",
    pickle: str | None = None,
) -> bytes:
    report = {
        "kind": kind,
        "type": type(error).__qualname__,
        "message": (message or text_of(error))[:_MAX_TEXT],
        "traceback": traceback,
        "pickle": pickle,
        "status": _STATUS.get(kind, 500),
    }
    return _json.dumps(report).encode("utf-8", "replace")  # half a surrogate pair has no UTF-8


def _traceback(error: BaseException) -> str:
    """The traceback as text, from the first frame of the user's on."""
    import traceback

    text = "".join(traceback.format_exception(type(error), error, _users_own(error.__traceback__)))
    if len(text) > _MAX_TEXT:
        half = _MAX_TEXT // 2
        text = f"{text[:half]}\n  ... cut ...\n{text[-half:]}"
    return text


def _bare_traceback(error: BaseException) -> str:
    """Without the lines of source, and so without a file that is opened."""
    lines = ["Traceback (most recent call last):"]
    trace = _users_own(error.__traceback__)
    while trace is not None and len(lines) < _MAX_BARE_FRAMES:
        code = trace.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}')
        trace = trace.tb_next
    return "\n".join([*lines, f"{type(error).__qualname__}: {text_of(error)}\n"])


def _users_own(trace: TracebackType | None) -> TracebackType | None:
    """From the first frame on that is not ours."""
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    return trace


def _is_ours(trace: TracebackType) -> bool:
    file = trace.tb_frame.f_code.co_filename
    return file.startswith((_OURS, "<frozen importlib"))


def _pickled(error: BaseException) -> str | None:
    """The exception itself, where it can travel. Never one that would end the caller's process."""
    if not isinstance(error, Exception):
        return None
    try:
        data = _encode_pickle(error)
    except BaseException:  # of the user's making, too
        return None
    if len(data) > _MAX_PICKLE_BYTES:
        return None
    from binascii import b2a_base64

    return b2a_base64(data, newline=False).decode("ascii")

"""What Ember raises. The error codes of the HTTP API are mapped to exceptions here and only here.

A user's own exception keeps its type: it is raised again at the caller with the remote traceback
as its cause. Everything else derives from EmberError.
"""

from __future__ import annotations


class EmberError(Exception):
    """The base of all errors of Ember. `call_id` names the call that failed, if one did."""

    code = "internal"

    def __init__(self, message: str = "", *, call_id: str | None = None) -> None:
        super().__init__(message)
        self.call_id = call_id


class InvalidArgumentError(EmberError):
    """What was asked is wrong in itself; the message names what."""

    code = "invalid_argument"


class PayloadTooLargeError(InvalidArgumentError):
    """Arguments or a result over the limit."""

    code = "payload_too_large"


class AuthError(EmberError):
    """No key, or one that isn't known or has expired."""

    code = "unauthenticated"


class PermissionDeniedError(AuthError):
    """The key may not do this."""

    code = "permission_denied"


class NotFoundError(EmberError):
    """The named thing isn't there."""

    code = "not_found"


class WebhookError(EmberError):
    """What came is no webhook of this workspace's, or an old one: answer it with a 400."""

    code = "invalid_webhook"


class UnknownVariantError(NotFoundError):
    """The server has lost a class's parameters or a function's options: tell it of them again."""

    code = "unknown_variant"


class ConflictError(EmberError):
    """The state of the named thing forbids it."""

    code = "conflict"


class DeadlockError(ConflictError):
    """The call needs room that is held by what waits for it, and would never have begun."""

    code = "deadlock"


class _RetryLaterError(EmberError):
    def __init__(
        self, message: str = "", *, call_id: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, call_id=call_id)
        self.retry_after_s = retry_after_s


class ResourceExhaustedError(_RetryLaterError):
    """A queue or quota is at its limit: try again after `retry_after_s`.

    `limit` names which one, such as `queue_limit`, and `limit_value` is its number, where it has
    one.
    """

    code = "resource_exhausted"
    limit: str | None = None
    limit_value: int | None = None


class UnavailableError(_RetryLaterError):
    """Ember can't be reached or can't do it now: try again after `retry_after_s`, where given."""

    code = "unavailable"


class StorageFailedError(UnavailableError):
    """A disk of the server's takes no writes: it is full, read-only or broken. Says which."""

    code = "storage_failed"


class FunctionTimeoutError(EmberError):
    """The execution took longer than the function's timeout."""

    code = "timed_out"


class NotEnded:
    """In the place of a result: the call goes on. `why` says what it does."""

    def __init__(self, why: str) -> None:
        self.why = why


class PendingError(EmberError, TimeoutError):
    """The call has not ended in the time that was given for it. Ask again later."""

    code = "pending"


class CallCancelledError(EmberError):
    """The call was withdrawn by its caller or by an operator."""

    code = "cancelled"


class ContainerCrashedError(EmberError):
    """The container ended under the call: a signal, an exit, a lost node."""

    code = "container_crashed"


class OutOfMemoryError(ContainerCrashedError):
    """The container went over its memory limit."""

    code = "out_of_memory"


class StartFailedError(EmberError):
    """The container couldn't be started, or the function's module couldn't be imported."""

    code = "start_failed"


class RemoteError(EmberError):
    """User code raised something that can't be rebuilt here: its type, message and traceback."""

    code = "user_exception"

    def __init__(
        self,
        message: str = "",
        *,
        call_id: str | None = None,
        type_name: str = "",
        traceback: str = "",
    ) -> None:
        super().__init__(message, call_id=call_id)
        self.type_name = type_name
        self.traceback = traceback


class ResultNotSerializableError(RemoteError):
    """The function returned something that can't travel to the caller."""


class InternalError(EmberError):
    """A fault of Ember's."""


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in a container: its traceback there, as text."""

    call_id: str | None = None

    def __str__(self) -> str:
        return "\n" + "".join(str(part) for part in self.args).rstrip("\n")


class InputCancelled(BaseException):
    """Raised in user code whose call was cancelled. Clean up, then let it pass."""


def text_of(error: BaseException) -> str:
    """What an exception says of itself; a user's own may fail even at that."""
    try:
        return str(error)
    except BaseException as broken:
        return f"(its text can't be had: {type(broken).__name__})"


_BY_CODE: dict[str, type[EmberError]] = {
    error.code: error
    for error in (
        InvalidArgumentError, PayloadTooLargeError, AuthError, PermissionDeniedError, NotFoundError,
        UnknownVariantError, ConflictError, DeadlockError, ResourceExhaustedError, UnavailableError,
        StorageFailedError, FunctionTimeoutError, PendingError, CallCancelledError,
        ContainerCrashedError, OutOfMemoryError, StartFailedError, RemoteError, InternalError,
    )
}  # fmt: skip


# What a report without frames may be of: an error of Ember's own, or arguments that were refused.
_WITHOUT_FRAMES = {**_BY_CODE, "bad_arguments": InvalidArgumentError}
del _WITHOUT_FRAMES[RemoteError.code]


def from_error_body(
    body: object, *, retry_after_s: float | None = None, unpickle: bool = False
) -> BaseException:
    """The exception for the `error` object of an HTTP answer.

    Unpickling a user's exception runs code that the container chose: only for who asked for that.
    """
    if not isinstance(body, dict):
        return InternalError(f"the server's error can't be read: {body!r}")
    call_id = body.get("call_id")
    message = str(body.get("message", ""))
    report = body.get("exception")
    if isinstance(report, dict):
        return from_report({"message": message, **report}, call_id=call_id, unpickle=unpickle)
    kind = _BY_CODE.get(str(body.get("code")), InternalError)
    if issubclass(kind, _RetryLaterError):
        error = kind(message, call_id=call_id, retry_after_s=retry_after_s)
        return _with_limit(error, body.get("limit"))
    return kind(message, call_id=call_id)


def _with_limit(error: EmberError, limit: object) -> EmberError:
    if isinstance(error, ResourceExhaustedError) and isinstance(limit, dict):
        error.limit, error.limit_value = limit.get("name"), limit.get("value")
    return error


def from_report(
    report: dict[str, object], *, call_id: str | None = None, unpickle: bool
) -> BaseException:
    """The exception for a runner's error body, or for the server's own in a CallError frame."""
    kind = str(report.get("kind"))
    message = str(report.get("message", ""))
    plain = _WITHOUT_FRAMES.get(kind)
    if plain is not None and issubclass(plain, _RetryLaterError):
        after = report.get("retry_after_s")
        retry_after_s = float(after) if isinstance(after, (int, float)) else None
        error = plain(message, call_id=call_id, retry_after_s=retry_after_s)
        return _with_limit(error, report.get("limit"))
    if plain is not None:
        return plain(message, call_id=call_id)
    traceback = str(report.get("traceback") or "")
    type_name = str(report.get("type") or "")
    raised: BaseException | None = None
    if kind == "load_failed":
        raised = StartFailedError(f"{type_name}: {message}", call_id=call_id)
    elif kind == "result_not_serializable":
        raised = ResultNotSerializableError(
            message, call_id=call_id, type_name=type_name, traceback=traceback
        )
    else:
        raised = _unpickled(report.get("pickle")) if unpickle else None
        raised = raised or RemoteError(
            f"{type_name}: {message}", call_id=call_id, type_name=type_name, traceback=traceback
        )
    if traceback:
        raised.__cause__ = cause = RemoteTraceback(traceback)
        cause.call_id = call_id
    return raised


def _unpickled(text: object) -> BaseException | None:
    """The exception itself, or None where its type isn't to be had here."""
    if not isinstance(text, str):
        return None
    import base64
    import pickle

    try:
        error = pickle.loads(base64.b64decode(text))
    except Exception:
        # Unpickling runs foreign code (a module that is missing here, a constructor that refuses):
        # whatever it raises, the traceback as text is what is left.
        return None
    # Nothing that would end this process, such as a SystemExit.
    return error if isinstance(error, Exception) else None

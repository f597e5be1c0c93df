"""What a receiver of webhooks needs: `verify` reads one and makes sure that it is the server's.

It asks no server, and imports nothing but the standard library.
"""

from __future__ import annotations

from ember.exception import WebhookError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Protocol

    class Headers(Protocol):
        """A mapping of names to values, as every HTTP library has one."""

        def items(self) -> Iterable[tuple[str, str]]: ...


_TOLERANCE_S = 300.0
_PREFIX = "whsec_"


def verify(
    headers: Headers,
    body: bytes | str,
    secret: str,
    *,
    tolerance_s: float = _TOLERANCE_S,
    now_s: float | None = None,
) -> dict[str, Any]:
    """The event that a webhook tells of: `type`, `timestamp` and `data`. WebhookError if it is not
    signed with the secret, or was `tolerance_s` ago.

    `body` is as it came; `secret` is what `ember webhook secret` prints. One event may come more
    than once: it has the same `webhook-id` header then.
    """
    from ember import _json

    fields = {name.lower(): value for name, value in headers.items()}
    id, timestamp, signatures = (
        _field(fields, f"webhook-{name}") for name in ("id", "timestamp", "signature")
    )
    data = body.encode() if isinstance(body, str) else body
    _check_time(timestamp, tolerance_s, now_s)
    _check_signature(signatures, _signature(secret, f"{id}.{timestamp}.".encode() + data))
    try:
        event = _json.loads(data)
    except ValueError as error:
        raise WebhookError(f"the body is no JSON: {error}") from None
    if not isinstance(event, dict):
        raise WebhookError("the body is no JSON object")
    return event


def _field(fields: Mapping[str, str], name: str) -> str:
    if not fields.get(name):
        raise WebhookError(f"there is no {name} header")
    return fields[name]


def _check_time(timestamp: str, tolerance_s: float, now_s: float | None) -> None:
    import time

    if not (timestamp.isascii() and timestamp.isdigit()):
        raise WebhookError("the webhook-timestamp is no whole number of seconds")
    if abs((time.time() if now_s is None else now_s) - int(timestamp)) > tolerance_s:
        raise WebhookError("the webhook is too old, or the clocks differ")


def _signature(secret: str, signed: bytes) -> str:
    import base64
    import binascii
    import hashlib
    import hmac

    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise WebhookError(f"the secret is none: it looks like {_PREFIX}...") from None
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _check_signature(signatures: str, expected: str) -> None:
    """One of them has to fit: while the key is replaced there are two."""
    import hmac

    for one in signatures.split():
        version, _, text = one.partition(",")
        if version == "v1" and hmac.compare_digest(text.encode(), expected.encode()):
            return
    raise WebhookError("no signature is of this secret")

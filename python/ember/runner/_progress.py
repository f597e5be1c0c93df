"""Progress on its way to the server: so often a second, and the last before the input's answer."""

from __future__ import annotations

from _thread import RLock, start_new_thread
from time import monotonic, sleep

from ember import _context, _json
from ember.runner._frames import JSON, PROGRESS, frame
from ember.runner._logs import pending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember._context import InputKey

_GAP_S = 0.25  # of one input
_MARK = 0  # in the place of a stream, in what is looked at before an answer

_lock = RLock()  # a finaliser may tell while its thread does
_sent_s: dict[InputKey, float] = {}
_late: dict[InputKey, bytes] = {}


def tell(key: InputKey, told: dict[str, object]) -> None:
    """Sends it now, or the last of them a little later."""
    body = _json.dumps(told).encode()
    with _lock:
        pending[_MARK, key] = ""
        now_s = monotonic()
        if key not in _late and now_s - _sent_s.get(key, -_GAP_S) >= _GAP_S:
            _sent_s[key] = now_s
            _send(key, body)
            return
        if not _late:
            start_new_thread(_send_late, ())
        _late[key] = body


def finish(key: InputKey) -> None:
    """The input is about to be answered."""
    with _lock:
        pending.pop((_MARK, key), None)
        _sent_s.pop(key, None)
        body = _late.pop(key, None)
        if body is not None:
            _send(key, body)


def _send_late() -> None:
    sleep(_GAP_S)
    with _lock:
        now_s = monotonic()
        while _late:
            key, body = _late.popitem()
            _sent_s[key] = now_s
            _send(key, body)


def _send(key: InputKey, body: bytes) -> None:
    if _context.runner is not None:
        _context.runner.send(frame(PROGRESS, JSON, key[1], key[0], body))

"""What comes of a call over HTTP in frames of u8 kind and u32 length: items, or the word of how it
goes and then one result.
"""

from __future__ import annotations

import struct

from ember import _json
from ember.exception import UnavailableError, from_error_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ember._watching import Watcher

CONTENT_TYPE = "application/x-ember-items"
WATCHED = "application/x-ember-watched"  # of a call of either kind, if it has to wait
_HEADER = struct.Struct("<BI")
_SILENCE, _ITEM, _ERROR, _END, _STATUS, _PROGRESS, _RESULT = 0, 1, 2, 3, 4, 5, 6


class Reader:
    """Takes the bytes as they come and gives the items.

    Unpickling a user's exception runs code that the container chose: only for who asked for that.
    """

    def __init__(self, *, unpickle: bool, watcher: Watcher | None = None) -> None:
        self._unpickle = unpickle
        self._watcher = watcher
        self._rest = bytearray()
        self.result: bytes | None = None  # of a plain function
        self.report: dict[str, Any] | None = None  # of the call, once all has come

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The items that are whole with this piece; raises what ended them."""
        data, at = self._rest, 0
        data += piece
        while at + _HEADER.size <= len(data):
            kind, size = _HEADER.unpack_from(data, at)
            end = at + _HEADER.size + size
            if end > len(data):
                break
            body = bytes(data[at + _HEADER.size : end])
            at = end
            if kind == _ITEM:
                yield body
            elif kind == _ERROR:
                raise from_error_body(_json.loads(body)["error"], unpickle=self._unpickle)
            elif kind == _RESULT:
                self.result = body
            elif kind == _END:
                self.report = _json.loads(body)
            elif self._watcher is not None and kind == _STATUS:
                self._watcher.on_status(_json.loads(body))
            elif self._watcher is not None and kind == _PROGRESS:
                self._watcher.on_progress(_json.loads(body))
        del data[:at]

    def check_end(self) -> None:
        """The bytes have ended: raises if the items have not."""
        if self.report is None:
            raise UnavailableError(
                "the stream of items broke off; the call may have been cancelled"
            )

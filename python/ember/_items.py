"""The items of a generator function as they come over HTTP: frames of u8 kind and u32 length."""

from __future__ import annotations

import struct

from ember import _json
from ember.exception import UnavailableError, from_error_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

CONTENT_TYPE = "application/x-ember-items"
_HEADER = struct.Struct("<BI")
_SILENCE, _ITEM, _ERROR, _END = 0, 1, 2, 3


class Reader:
    """Takes the bytes as they come and gives the items.

    Unpickling a user's exception runs code that the container chose: only for who asked for that.
    """

    def __init__(self, *, unpickle: bool) -> None:
        self._unpickle = unpickle
        self._rest = bytearray()
        self.report: dict[str, Any] | None = None  # of the call, once all items have come

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
            elif kind == _END:
                self.report = _json.loads(body)
        del data[:at]

    def check_end(self) -> None:
        """The bytes have ended: raises if the items have not."""
        if self.report is None:
            raise UnavailableError(
                "the stream of items broke off; the call may have been cancelled"
            )

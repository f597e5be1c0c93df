"""Keys of dictionaries as text: equal keys have equal texts, in every process.

A string is its own text. Any other key is `!` and the base 64 of a pickle that depends on nothing
but the key: without memos, which tell objects apart that are equal, and with sets in order. Types
count: 1, 1.0 and True are three keys.
"""

from __future__ import annotations

import binascii
import io
import pickle

from ember.exception import EmberError, InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_BYTES = 2048
_MARK = "!"
_PROTOCOL = 3  # the last without frames, which would hold lengths
_PREFIX_BYTES = 2  # the opcode of the protocol; the one of the end is one byte
_TUPLE, _FROZENSET = b"t", b"\x91"
_BEGIN, _END = b"\x80\x04", b"."


def encode(key: object) -> str:
    """The text of a key."""
    if type(key) is str and _is_plain(key):
        text = key
    else:
        _check_hashable(key)
        data = _BEGIN + _opcodes(key) + _END
        text = _MARK + binascii.b2a_base64(data, newline=False).decode("ascii")
    size = len(text.encode())
    if size > MOST_BYTES:
        raise InvalidArgumentError(f"the key takes {size} bytes, the limit is {MOST_BYTES}")
    return text


def decode(text: str) -> Any:
    """The key that has this text."""
    if not text.startswith(_MARK):
        return text
    try:
        return pickle.loads(binascii.a2b_base64(text[1:]))
    except Exception as error:
        raise EmberError(
            f"the key {text[:80]} can't be rebuilt here: {type(error).__name__}: {error}"
        ) from error


def _is_plain(key: str) -> bool:
    """Whether it can be told as it is."""
    if not key or key.startswith(_MARK) or "\0" in key:
        return False
    try:
        key.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def _check_hashable(key: object) -> None:
    try:
        hash(key)
    except TypeError as error:
        raise InvalidArgumentError(f"a key must be hashable: {error}") from None


def _opcodes(key: object) -> bytes:
    """A pickle's inside, which leaves the key on the stack."""
    if type(key) is tuple:
        return b"(" + b"".join(map(_opcodes, key)) + _TUPLE
    if type(key) is frozenset:
        return b"(" + b"".join(sorted(map(_opcodes, key))) + _FROZENSET
    file = io.BytesIO()
    pickler = pickle.Pickler(file, _PROTOCOL)
    pickler.fast = True
    try:
        pickler.dump(key)
    except Exception as error:
        raise InvalidArgumentError(
            f"the key can't be pickled: {type(error).__name__}: {error}"
        ) from error
    return file.getvalue()[_PREFIX_BYTES:-1]

"""Inputs that run together: the arguments of all as lists, and to each its own answer."""

from __future__ import annotations

from ember.runner._codec import (
    NotSerializable,
    decode_arguments,
    encode_result,
    error_body,
    user_error_body,
)
from ember.runner._frames import ERROR, FORMAT_MASK, HEADER, JSON, RESULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ember._context import InputKey
    from ember._signature import Plan
    from ember.runner._runner import Answer


class Batch:
    """One execution of a batched function, from its inputs to their answers.

    Its key is that of the first input: an interruption names that one, and what the function
    prints or calls counts for it.
    """

    __slots__ = ("_answers", "_inputs", "_running", "key", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.key: InputKey = (0, 0, 0)
        self._inputs: list[tuple[InputKey, int, bytes]] = []  # with format and arguments
        self._running: list[tuple[InputKey, int]] = []  # those that the function is given
        self._answers: dict[InputKey, Answer] = {}

    def add(self, key: InputKey, format: int, body: bytes) -> bool:
        """Adds an input that has come; whether it was the last."""
        if not self._inputs:
            self.key = key
        self._inputs.append((key, format & FORMAT_MASK, body))
        return len(self._inputs) == self.size

    def arguments(self, plan: Plan) -> tuple[list[Any], dict[str, Any]] | None:
        """What to call the function with: a list for each parameter; None if there is no need.

        An input whose arguments don't fit is answered so, and the others run without it.
        """
        columns: list[list[Any]] = [[] for _ in plan.named]
        for key, format, body in self._inputs:
            try:
                args, kwargs = decode_arguments(format, body, plan)
            except BaseException as error:
                self._answers[key] = ERROR, JSON, error_body(error)
                continue
            self._running.append((key, format))
            for i, (column, parameter) in enumerate(zip(columns, plan.named)):
                given = args[i] if i < len(args) else kwargs.get(parameter.name, parameter.default)
                column.append(given)
        self._inputs.clear()
        if not self._running:
            return None
        by_name = [i for i, one in enumerate(plan.named) if one.kind == "keyword_only"]
        in_place = columns[: by_name[0]] if by_name else columns
        return in_place, {plan.named[i].name: columns[i] for i in by_name}

    def settle(self, name: str, values: Any) -> None:
        """The function has returned: a result for each, or an exception in the place of one."""
        if not isinstance(values, list):
            raise TypeError(
                f"{name} is batched and returned {type(values).__name__}, not a list; return a "
                "list with one result for each input, in their order"
            )
        if len(values) != len(self._running):
            raise ValueError(
                f"{name} was given {len(self._running)} inputs in a batch and returned "
                f"{len(values)} results; return one for each, in their order"
            )
        for (key, format), value in zip(self._running, values):
            self._answers[key] = _answer(format, value)

    def fail(self, error: BaseException, *, cancelled: bool = False) -> None:
        """The function has raised: that is the answer to all that have none yet."""
        body = error_body(error, cancelled=cancelled)
        waiting = [key for key, _, _ in self._inputs] + [key for key, _ in self._running]
        for key in waiting:
            self._answers.setdefault(key, (ERROR, JSON, body))

    def frames(self) -> list[bytes]:
        """The answers, ready to be sent."""
        parts: list[bytes] = []
        for (stream, attempt, _), (kind, format, data) in self._answers.items():
            parts += (HEADER.pack(len(data), kind, format, attempt, stream), data)
        return parts


def _answer(format: int, value: Any) -> Answer:
    if isinstance(value, BaseException):
        return ERROR, JSON, user_error_body("user_exception", value)
    try:
        return RESULT, format, encode_result(format, value)
    except NotSerializable as error:
        return ERROR, JSON, error_body(error)

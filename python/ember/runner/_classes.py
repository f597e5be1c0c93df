"""A class in its container: one object, whose methods take the inputs."""

from __future__ import annotations

from ember import _context
from ember._cls import Cls
from ember._function import is_async, is_coroutine, is_generator
from ember._lifecycle import hooks_of, make_object
from ember._signature import Plan
from ember.runner._runner import Entry, Function, Hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ember.runner._web import Endpoint


def load(found: object, settings: dict[str, Any]) -> Function:
    """Makes the object that function.json tells of; its enter hooks are still to be called."""
    if not isinstance(found, Cls) or found.raw is None:
        raise TypeError(f"{settings['module']}.{settings['qualname']} is not an ember class")
    _context.app_names = (found.app_name, settings["app"])
    cls = Cls(
        found.app_name,
        settings["function"],
        found.raw,
        options=settings.get("options"),
    )
    made = make_object(cls, settings["class_arguments"])

    def hooks(kind: str) -> list[Hook]:
        assert cls.raw is not None
        return [
            Hook(hook.raw.__get__(made), is_async=is_coroutine(hook.raw))  # pyright: ignore[reportFunctionMemberAccess]
            for hook in hooks_of(cls.raw, kind)
        ]

    max_inputs = int(settings["max_inputs"])
    endpoints: list[Endpoint] = []

    def entry(name: str) -> Entry:
        method = cls.methods[name]
        bound = method.raw.__get__(made)  # pyright: ignore[reportFunctionMemberAccess]
        if method.web is None:
            plan = Plan(method.raw, is_method=True, is_batched=bool(settings.get("is_batched")))
            return Entry(
                bound,
                plan,
                is_async=is_async(method.raw),
                is_generator=is_generator(method.raw),
            )
        from ember.runner._web import Endpoint

        endpoints.append(Endpoint(bound, method.web, max_inputs))
        return endpoints[-1].entry()

    return Function(
        [entry(name) for name in settings["methods"]],
        is_async=bool(settings["is_async"]),
        max_inputs=max_inputs,
        # Apps are made of what the object has loaded, and end before it does.
        enter=[*hooks("enter"), *(endpoint.enter() for endpoint in endpoints)],
        exit=[*(endpoint.exit() for endpoint in endpoints), *hooks("exit")],
    )

"""Apps: named sets of functions that are deployed together."""

from __future__ import annotations

from ember._function import Function, make_function
from ember._settings import Settings, check_name
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, Literal, ParamSpec, TypeVar

    from ember._cls import Cls
    from ember._deploy import Deployment, Progress
    from ember._image import Image
    from ember._retries import Retries
    from ember._schedule import Cron, Period
    from ember._secret import Secret
    from ember._volume import Volume

    P = ParamSpec("P")
    R = TypeVar("R")
    T = TypeVar("T")


class LocalEntrypoint:
    """A function that `ember run` runs on this machine. Calling it is a plain call."""

    def __init__(self, name: str, raw: Callable[..., Any]) -> None:
        self.name = name
        self.raw = raw
        self.__doc__ = raw.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.raw(*args, **kwargs)


class App:
    """A namespace for functions and the unit of an atomic deploy.

    Making one and decorating functions talks to no server.
    """

    def __init__(self, name: str, *, image: Image | None = None) -> None:
        self.name = check_name("app", name)
        Settings(image=image)  # checks it
        self.image = image  # of the functions that name none
        self.functions: dict[str, Function[..., Any] | Cls[Any]] = {}  # and classes
        self.local_entrypoints: dict[str, LocalEntrypoint] = {}

    def function(
        self,
        *,
        gpu: str | Sequence[str] | None = None,
        vram: int | str | None = None,
        cpu: float | None = None,
        memory: int | str | None = None,
        image: Image | None = None,
        timeout: float | None = None,
        retries: int | Retries | None = None,
        startup_timeout: float | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        queue_limit: int | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[Secret] | None = None,
        network: Literal["internet", "none"] | Sequence[str] | None = None,
        isolation: Literal["container", "gvisor"] | None = None,
        ephemeral_disk: int | str | None = None,
        volumes: Mapping[str, Volume] | None = None,
        checkpoints: bool = False,
        schedule: Cron | Period | None = None,
        name: str | None = None,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Makes a function of this app. Durations are seconds.

        gpu: "L4", "H100:2", or a list of these in order of preference.
        vram: MiB, or text such as "6GB". With a gpu, a share of one device's memory: others of the
        workspace use the rest of it. Without one, any GPU that has as much, the cheapest first.
        cpu: cores. memory: MiB, or text such as "2GB".
        retries: how often it is run again after an exception, a time-out or a crash; a number,
        a second apart, or ember.Retries(...).
        timeout: of one execution; startup_timeout: of a container's start with its imports.
        min_containers: kept when idle; max_containers: never exceeded; buffer_containers: extra
        idle ones while the function is in use; scaledown_window: the longest a container idles.
        queue_limit: inputs that may wait; one more is refused.
        secrets: of `ember.Secret`; of two with the same key the later one holds, over env too.
        network: "internet", the default; "none": nothing can be sent from its containers; or the
        only destinations, ["example.org", "*.example.net", "203.0.113.0/24"]. Calls go on.
        isolation: "container", or "gvisor": a kernel of its own, for code that nobody trusts.
        ephemeral_disk: MiB, or text such as "20GB": what each container can write on disk; without
        it scratch space is memory.
        volumes: what its containers see where, {"/data": Volume.from_name("models")}.
        checkpoints: its calls may leave some by ember.checkpoint(path), for their next attempt.
        schedule: ember.Cron(...) or ember.Period(...): when the server calls it by itself, without
        arguments, while the app is deployed.
        """
        settings = Settings(
            gpu=gpu,
            vram=vram,
            cpu=cpu,
            memory=memory,
            image=image,
            timeout=timeout,
            retries=retries,
            startup_timeout=startup_timeout,
            min_containers=min_containers,
            max_containers=max_containers,
            buffer_containers=buffer_containers,
            scaledown_window=scaledown_window,
            queue_limit=queue_limit,
            env=env,
            secrets=secrets,
            network=network,
            isolation=isolation,
            ephemeral_disk=ephemeral_disk,
            volumes=volumes,
            checkpoints=checkpoints or None,
            schedule=schedule,
        )

        def decorate(raw: Callable[P, R]) -> Function[P, R]:
            function = make_function(self.name, raw, name, settings)
            self._add(function)
            return function

        return decorate

    def cls(
        self,
        *,
        gpu: str | Sequence[str] | None = None,
        vram: int | str | None = None,
        cpu: float | None = None,
        memory: int | str | None = None,
        image: Image | None = None,
        timeout: float | None = None,
        startup_timeout: float | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        queue_limit: int | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[Secret] | None = None,
        network: Literal["internet", "none"] | Sequence[str] | None = None,
        isolation: Literal["container", "gvisor"] | None = None,
        ephemeral_disk: int | str | None = None,
        volumes: Mapping[str, Volume] | None = None,
        checkpoints: bool = False,
        spread: bool = False,
        name: str | None = None,
    ) -> Callable[[type[T]], Cls[T]]:
        """Makes a class of this app, whose methods share containers: `@ember.method()`.

        Each container makes one object, loads it with `@ember.enter()` and then takes calls. Each
        set of parameters (`ember.parameter()`) has containers of its own, and each of them the
        settings here, which are those of `function`; startup_timeout covers `@ember.enter()` too.
        spread: put containers on devices and nodes that have none of the same, where there are any.
        """
        from ember._cls import make_cls

        settings = Settings(
            gpu=gpu,
            vram=vram,
            cpu=cpu,
            memory=memory,
            image=image,
            timeout=timeout,
            startup_timeout=startup_timeout,
            min_containers=min_containers,
            max_containers=max_containers,
            buffer_containers=buffer_containers,
            scaledown_window=scaledown_window,
            queue_limit=queue_limit,
            env=env,
            secrets=secrets,
            network=network,
            isolation=isolation,
            ephemeral_disk=ephemeral_disk,
            volumes=volumes,
            checkpoints=checkpoints or None,
            spread=spread or None,
        )

        def decorate(raw: type[T]) -> Cls[T]:
            cls = make_cls(self.name, raw, name, settings)
            self._add(cls)
            return cls

        return decorate

    def _add(self, function: Function[..., Any] | Cls[Any]) -> None:
        if function.name in self.functions:
            raise InvalidArgumentError(
                f'app {self.name} has two functions named "{function.name}"; '
                "give one another with name="
            )
        self.functions[function.name] = function

    def local_entrypoint(
        self, *, name: str | None = None
    ) -> Callable[[Callable[..., Any]], LocalEntrypoint]:
        """What `ember run` starts here; its parameters become command-line options."""

        def decorate(raw: Callable[..., Any]) -> LocalEntrypoint:
            entrypoint = LocalEntrypoint(name or raw.__name__, raw)
            if entrypoint.name in self.local_entrypoints:
                raise InvalidArgumentError(
                    f'app {self.name} has two entrypoints named "{entrypoint.name}"'
                )
            self.local_entrypoints[entrypoint.name] = entrypoint
            return entrypoint

        return decorate

    def rename(self, name: str) -> None:
        """Deploys under another name from here on; the handles of its functions follow."""
        self.name = check_name("app", name)
        for function in self.functions.values():
            function.app_name = name

    def deploy(
        self,
        *,
        strategy: str = "rolling",
        wait: bool = True,
        progress: Progress | None = None,
    ) -> Deployment:
        """Makes this the app's version that serves: builds images, uploads source, switches.

        With the strategy "rolling" the version before it serves until this one's containers are
        up, which is waited for unless `wait` is false; if they do not come up, StartFailedError
        tells why, and the version before it serves on. With "recreate" the switch is at once.
        """
        from ember import _deploy

        return _deploy.deploy(self, strategy=strategy, wait=wait, progress=progress)

    def run(self, *, progress: Progress | None = None) -> AbstractContextManager[Deployment]:
        """An ephemeral deployment for the length of a `with` block."""
        from ember import _deploy

        return _deploy.run(self, progress=progress)

    def __repr__(self) -> str:
        return f"<ember.App {self.name}>"

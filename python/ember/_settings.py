"""The settings of a function, checked where they are written: at the decorator."""

from __future__ import annotations

from ember._image import Image
from ember._retries import retries_spec
from ember._schedule import schedule_spec
from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypedDict

    from ember._retries import Retries
    from ember._schedule import Cron, Period
    from ember._secret import Secret
    from ember._volume import Volume

    class Options(TypedDict, total=False):
        """What `with_options` takes: the settings that variants of a function may differ in."""

        gpu: str | Sequence[str] | None
        vram: int | str | None
        cpu: float | None
        memory: int | str | None
        timeout: float | None
        startup_timeout: float | None
        min_containers: int | None
        max_containers: int | None
        buffer_containers: int | None
        scaledown_window: float | None
        queue_limit: int | None
        env: Mapping[str, str] | None


_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_MAX_NAME = 63
_MAX_TIMEOUT_S = 24 * 60 * 60
_MAX_CONTAINERS = 10_000
_MAX_INPUTS = 1_000
_MAX_QUEUE = 1_000_000
_MAX_BATCH = 1_000
_MAX_BATCH_WAIT_MS = 600_000
_NETWORKS = ("internet", "none")
_MAX_DESTINATIONS = 64
_ISOLATIONS = ("container", "gvisor")
_LEAST_DISK_BYTES = 16 << 20
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def check_name(what: str, name: object) -> str:
    """A name that Ember accepts: 1 to 63 of letters, digits and `._-`, not beginning with these."""
    if not isinstance(name, str):
        raise InvalidArgumentError(f"{what} name: expected str, got {type(name).__name__}")
    if not 0 < len(name) <= _MAX_NAME or not set(name) <= _NAME_CHARACTERS or name[0] in "._-":
        raise InvalidArgumentError(
            f"{what} name {name!r}: use 1 to {_MAX_NAME} of letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    return name


class Settings:
    """What a deploy says of a function beside its code. What is None takes the server's default."""

    def __init__(
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
        network: str | Sequence[str] | None = None,
        isolation: str | None = None,
        ephemeral_disk: int | str | None = None,
        volumes: Mapping[str, Volume] | None = None,
        spread: bool | None = None,
        checkpoints: bool | None = None,
        schedule: Cron | Period | None = None,
    ) -> None:
        if image is not None and not isinstance(image, Image):
            raise InvalidArgumentError(
                f"image: expected an ember.Image, got {type(image).__name__}"
            )
        self.image = image
        self.secrets = _secrets(secrets)
        self.schedule = schedule
        self._values: dict[str, object] = {
            "gpu": _gpu(gpu),
            "cpu_millicores": _milli("cpu", cpu, least=0.01, most=1024),
            "vram_bytes": _vram(vram, gpu),
            "memory_bytes": size_bytes("memory", memory),
            "timeout_ms": _milli("timeout", timeout, least=1, most=_MAX_TIMEOUT_S),
            "retries": retries_spec(retries),
            "startup_timeout_ms": _milli(
                "startup_timeout", startup_timeout, least=1, most=_MAX_TIMEOUT_S
            ),
            "min_containers": _count("min_containers", min_containers, 0, _MAX_CONTAINERS),
            "max_containers": _count("max_containers", max_containers, 1, _MAX_CONTAINERS),
            "buffer_containers": _count("buffer_containers", buffer_containers, 0, _MAX_CONTAINERS),
            "scaledown_window_ms": _milli(
                "scaledown_window", scaledown_window, least=0.001, most=_MAX_TIMEOUT_S
            ),
            "queue_limit": _count("queue_limit", queue_limit, 1, _MAX_QUEUE),
            "env": _env(env),
            "network": _network(network),
            "isolation": _known("isolation", isolation, _ISOLATIONS),
            "ephemeral_disk_bytes": _ephemeral_disk(ephemeral_disk),
            "volumes": self._mounts(volumes),
            "spread": _flag("spread", spread),
            "checkpoints": _flag("checkpoints", checkpoints),
            "schedule": schedule_spec(schedule),
        }
        if max_containers is not None and (min_containers or 0) > max_containers:
            raise InvalidArgumentError(
                f"min_containers ({min_containers}) is over max_containers ({max_containers})"
            )

    def _mounts(self, volumes: Mapping[str, Volume] | None) -> list[dict[str, Any]] | None:
        self.volumes: list[Volume] = []
        if volumes is None:
            return None
        from ember._volume import mount_specs

        specs, self.volumes = mount_specs(volumes)
        return specs

    def spec(self) -> dict[str, Any]:
        """The fields of a deploy that were given, but for secrets, which may hold values."""
        return {name: value for name, value in self._values.items() if value is not None}


_OPTIONS = (
    "gpu", "vram", "cpu", "memory", "timeout", "startup_timeout", "min_containers",
    "max_containers", "buffer_containers", "scaledown_window", "queue_limit", "env",
)  # fmt: skip


def options_spec(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a deploy that `with_options` was given."""
    for name in options:
        if name not in _OPTIONS:
            raise InvalidArgumentError(
                f"with_options: {name} can't differ between pools of one function; "
                f"these can: {', '.join(_OPTIONS)}"
            )
    return Settings(**options).spec()


class Concurrency:
    """How many inputs one container runs at once, and how many the autoscaler aims at."""

    def __init__(self, max_inputs: int, target_inputs: int | None) -> None:
        self.max_inputs = _count("max_inputs", max_inputs, 1, _MAX_INPUTS) or 1
        target = _count("target_inputs", target_inputs, 1, _MAX_INPUTS)
        if target is not None and target > self.max_inputs:
            raise InvalidArgumentError(f"target_inputs ({target}) is over max_inputs")
        self.target_inputs = target or self.max_inputs

    def spec(self) -> dict[str, int]:
        """The fields of a deploy."""
        return {"max_inputs": self.max_inputs, "target_inputs": self.target_inputs}


class Batching:
    """How many inputs run together at most, and how long the first of them waits for others."""

    def __init__(self, max_batch_size: int, wait_ms: int) -> None:
        if max_batch_size is None or wait_ms is None:
            raise InvalidArgumentError("give both max_batch_size and wait_ms")
        self.max_batch_size = _count("max_batch_size", max_batch_size, 1, _MAX_BATCH)
        self.wait_ms = _count("wait_ms", wait_ms, 0, _MAX_BATCH_WAIT_MS)

    def spec(self) -> dict[str, Any]:
        """The fields of a deploy."""
        return {"max_batch_size": self.max_batch_size, "batch_wait_ms": self.wait_ms}


def _gpu(gpu: object) -> list[str] | None:
    """The accepted GPU types in order, each `TYPE` or `TYPE:COUNT`; the server knows the types."""
    if gpu is None:
        return None
    demands = [gpu] if isinstance(gpu, str) else gpu
    if not isinstance(demands, (list, tuple)) or not demands:
        raise InvalidArgumentError(
            f'gpu: expected "L4", "H100:2" or a list of these in order of preference, got {gpu!r}'
        )
    for demand in demands:
        if not isinstance(demand, str):
            raise InvalidArgumentError(f"gpu: expected str, got {type(demand).__name__}")
        kind, colon, number = demand.partition(":")
        if not kind or (colon and (not number.isdigit() or int(number) < 1)):
            raise InvalidArgumentError(f'gpu: {demand!r} is not of the form "H100" or "H100:2"')
    return list(demands)


def _milli(name: str, value: object, *, least: float, most: float) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidArgumentError(f"{name}: expected a number, got {type(value).__name__}")
    if not least <= value <= most:
        raise InvalidArgumentError(f"{name}: {value} is not between {least:g} and {most:g}")
    return round(value * 1000)


def _count(name: str, value: object, least: int, most: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgumentError(f"{name}: expected int, got {type(value).__name__}")
    if not least <= value <= most:
        raise InvalidArgumentError(f"{name}: {value} is not between {least} and {most}")
    return value


def _flag(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise InvalidArgumentError(f"{name}: expected bool, got {type(value).__name__}")


def _vram(vram: object, gpu: object) -> int | None:
    """Bytes of a GPU's memory: a share of the one device of `gpu`, or what any GPU must have."""
    size = size_bytes("vram", vram)
    demands = [gpu] if isinstance(gpu, str) else gpu
    for demand in demands if size and isinstance(demands, (list, tuple)) else []:
        kind, _, count = str(demand).partition(":")
        if count not in ("", "1"):
            raise InvalidArgumentError(
                f"vram: a share is of one device, and gpu={demand!r} asks for {count}; leave vram "
                f"out, or ask for gpu={kind!r}"
            )
    return size


def size_bytes(name: str, value: object) -> int | None:
    """Bytes, from MiB as int or from text with a unit."""
    if value is None:
        return None
    size = 0
    if isinstance(value, int) and not isinstance(value, bool):
        size = value << 20
    elif isinstance(value, str):
        text = value.strip().upper()
        number = text.rstrip("KMGTIB")
        unit = text[len(number) :]
        if unit in _UNITS and number.strip().replace(".", "", 1).isdigit():
            size = int(float(number) * _UNITS[unit])
    if size <= 0:
        raise InvalidArgumentError(f'{name}: expected MiB as int, "512MB" or "2GB", got {value!r}')
    return size


def _network(network: object) -> str | list[str] | None:
    """ "internet", "none", or the only destinations: networks, names and "*.name"."""
    if isinstance(network, str) and ("." in network or "/" in network):
        raise InvalidArgumentError(f"network: destinations are a list: network=[{network!r}]")
    if not isinstance(network, (list, tuple)):
        return _known("network", network, _NETWORKS, "a list of destinations")
    if not 0 < len(network) <= _MAX_DESTINATIONS:
        raise InvalidArgumentError(
            f'network: list 1 to {_MAX_DESTINATIONS} destinations; "none" is for none'
        )
    for one in network:
        if not isinstance(one, str):
            raise InvalidArgumentError(
                f"network: expected str in the list, got {type(one).__name__}"
            )
        if ":" in one:
            raise InvalidArgumentError(
                f"network: {one!r} is no destination: a name without scheme and port "
                '("example.org"), all names below one ("*.example.org") or a network of IPv4 '
                '("203.0.113.0/24")'
            )
    return list(network)


def _known(name: str, value: object, known: tuple[str, ...], more: str = "") -> str | None:
    """One of the words, or nothing given."""
    if value is None or value in known:
        return value  # pyright: ignore[reportReturnType]
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name}: expected str, got {type(value).__name__}")
    import difflib

    close = difflib.get_close_matches(value.lower(), known, 1)
    guess = f': did you mean "{close[0]}"?' if close else ""
    words = [f'"{word}"' for word in known] + ([more] if more else [])
    raise InvalidArgumentError(
        f"{name}: {value!r} is not known; {', '.join(words[:-1])} and {words[-1]} are{guess}"
    )


def _ephemeral_disk(size: object) -> int | None:
    size_b = size_bytes("ephemeral_disk", size)
    if size_b is not None and size_b < _LEAST_DISK_BYTES:
        raise InvalidArgumentError(f"ephemeral_disk: {size!r} is less than 16 MiB")
    return size_b


def _secrets(secrets: Sequence[Secret] | None) -> list[Secret]:
    if secrets is None:
        return []
    from ember._secret import check_secrets

    return check_secrets(secrets)


def _env(env: object) -> dict[str, str] | None:
    if env is None:
        return None
    if not hasattr(env, "items"):
        raise InvalidArgumentError(f"env: expected a dict of str, got {type(env).__name__}")
    checked: dict[str, str] = {}
    for name, value in env.items():  # pyright: ignore[reportAttributeAccessIssue]
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidArgumentError(f"env: {name!r}: names and values must be str")
        if not name or "=" in name or "\0" in name + value:
            raise InvalidArgumentError(f"env: {name!r} is not a name for a variable")
        if name.startswith("EMBER_"):
            raise InvalidArgumentError(f"env: {name}: names with EMBER_ are Ember's own")
        checked[name] = value
    return checked

"""Declaring apps, collecting their source, deploying and calling them."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import Answer, Asked, FakeServer, document

import ember
from ember import _client, _load, _settings, _source
from ember._deploy import deploy
from ember._signature import parameters
from ember.exception import ConflictError, EmberError, InvalidArgumentError


def double(n: int, by: float = 2) -> float:
    """Doubles."""
    return n * by


async def later(n: int) -> int:
    return n


def some_words(text: str) -> Iterator[str]:
    yield from text.split()


async def some_ticks() -> AsyncIterator[int]:
    yield 1


def make_app(**settings: Any) -> tuple[ember.App, Any]:
    app = ember.App("sums")
    return app, app.function(**settings)(double)


# --- declaring ---


def tick(_count: int = 0, *_more: int, _name: str = "", **_rest: str) -> None:
    pass


def test_a_schedule_becomes_a_field_of_a_deploy() -> None:
    def spec(schedule: Any) -> dict[str, Any]:
        return ember.App("ticks").function(schedule=schedule)(tick).spec()["schedule"]

    assert spec(ember.Cron("0 6 * * *", timezone="Europe/Berlin")) == {
        "cron": "0 6 * * *", "timezone": "Europe/Berlin", "missed": "skip", "overlap": "skip",
    }  # fmt: skip
    assert spec(ember.Cron("@daily", missed="run_once"))["missed"] == "run_once"
    assert spec(ember.Period(days=1, hours=2, minutes=3, seconds=4.5, overlap="allow")) == {
        "period_ms": 93_784_500, "missed": "skip", "overlap": "allow",
    }  # fmt: skip
    assert "schedule" not in ember.App("ticks").function()(tick).spec()


CRON: Any = ember.Cron  # to be given what no type checker takes
PERIOD: Any = ember.Period


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CRON("0 6 * *"), "five fields"),
        (lambda: CRON(6), "expected str"),
        (lambda: CRON("@daily", timezone=None), "timezone"),
        (lambda: CRON("@daily", missed="all"), '"skip" or "run_once"'),
        (lambda: PERIOD(seconds=1, overlap="no"), '"skip" or "allow"'),
        (lambda: PERIOD(), "between 1 second and 366 days"),
        (lambda: PERIOD(days=367), "between 1 second and 366 days"),
        (lambda: PERIOD(seconds=float("nan")), "between 1 second and 366 days"),
        (lambda: PERIOD(seconds="1"), "seconds: expected a number"),
        (lambda: make_app(schedule="0 6 * * *"), "ember.Cron"),
        (lambda: make_app(schedule=ember.Period(hours=1)), "give n a default"),
    ],
)
def test_a_schedule_that_is_wrong_is_refused_where_it_is_written(make: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        make()


def test_settings_become_the_fields_of_a_deploy() -> None:
    _, function = make_app(
        gpu="H100:2", cpu=0.5, memory="2GB", timeout=1.5, startup_timeout=60, min_containers=1,
        max_containers=4, buffer_containers=1, scaledown_window=5, queue_limit=7, env={"A": "b"},
        network="none",
    )  # fmt: skip
    spec = function.spec()
    assert spec["gpu"] == ["H100:2"]
    assert (spec["cpu_millicores"], spec["memory_bytes"]) == (500, 2 * 10**9)
    assert (spec["timeout_ms"], spec["startup_timeout_ms"]) == (1500, 60_000)
    assert (spec["min_containers"], spec["max_containers"]) == (1, 4)
    assert (spec["buffer_containers"], spec["scaledown_window_ms"]) == (1, 5000)
    assert spec["queue_limit"] == 7
    assert (spec["module"], spec["qualname"], spec["is_async"]) == (__name__, "double", False)
    assert spec["env"] == {"A": "b"}
    assert spec["network"] == "none"
    assert spec["parameters"] == [
        {"name": "n", "kind": "positional_or_keyword", "annotation": "int", "required": True},
        {
            "name": "by", "kind": "positional_or_keyword", "annotation": "float",
            "required": False, "default": 2,
        },
    ]  # fmt: skip


def test_what_is_not_given_is_left_to_the_server() -> None:
    _, function = make_app()
    assert not {"gpu", "timeout_ms", "memory_bytes", "env", "network"} & function.spec().keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gpu": 3}, "gpu: expected"),
        ({"gpu": []}, "gpu: expected"),
        ({"gpu": "H100:0"}, "not of the form"),
        ({"gpu": ["L4", "x:y"]}, "not of the form"),
        ({"cpu": "2"}, "cpu: expected a number, got str"),
        ({"cpu": 0}, "cpu: 0 is not between"),
        ({"cpu": 0.009}, "cpu: 0.009 is not between 0.01 and 1024"),
        ({"memory": "2 pounds"}, "memory: expected"),
        ({"memory": -1}, "memory: expected"),
        ({"memory": True}, "memory: expected"),
        ({"vram": "much"}, "vram: expected MiB as int"),
        ({"gpu": "L4", "vram": 0}, "vram: expected"),
        ({"gpu": "H100:2", "vram": "6GB"}, "asks for 2; leave vram out, or ask for gpu='H100'"),
        ({"gpu": ["L4", "T4:3"], "vram": "6GB"}, "a share is of one device"),
        ({"gpu": 3, "vram": "6GB"}, "gpu: expected"),
        ({"timeout": 0}, "timeout: 0 is not between 1 and 86400"),
        ({"timeout": float("nan")}, "timeout: nan is not between"),
        ({"min_containers": 1.5}, "min_containers: expected int, got float"),
        ({"min_containers": 5, "max_containers": 4}, "min_containers .5. is over max_containers"),
        ({"max_containers": 0}, "max_containers: 0 is not between 1"),
        ({"queue_limit": 0}, "queue_limit: 0 is not between 1 and 1000000"),
        ({"image": "host"}, "image: expected an ember.Image"),
        ({"env": {"A": 1}}, "must be str"),
        ({"env": {"EMBER_X": "1"}}, "Ember's own"),
        ({"network": False}, "network: expected str, got bool"),
        ({"network": "example.org"}, r"network=\['example.org'\]"),
        ({"network": []}, "network: list 1 to 64 destinations"),
        ({"network": ["https://example.org"]}, "without scheme and port"),
        ({"isolation": "gVisor"}, 'did you mean "gvisor"'),
        ({"ephemeral_disk": "1MB"}, "is less than 16 MiB"),
        ({"network": "Nome"}, 'did you mean "none"'),
        ({"network": "host"}, '"internet", "none" and a list of destinations are$'),
        ({"name": "no spaces"}, "function name 'no spaces'"),
    ],
)
def test_wrong_settings_are_refused_where_they_are_written(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make_app(**settings)


@pytest.mark.parametrize("name", ["", "-a", "a b", "ä", "x" * 64, 5])
def test_names_are_checked(name: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="app name"):
        ember.App(name)


@pytest.mark.parametrize(
    ("memory", "size_bytes"),
    [(512, 512 << 20), ("512MB", 512 * 10**6), ("1.5GiB", 3 << 29), (" 2 gb ", 2 * 10**9)],
)
def test_memory_is_mib_or_has_a_unit(memory: Any, size_bytes: int) -> None:
    assert _settings.Settings(memory=memory).spec()["memory_bytes"] == size_bytes


def test_vram_goes_with_a_gpu_and_without() -> None:
    _, share = make_app(gpu=["L4", "T4:1"], vram="6GB")
    assert (share.spec()["gpu"], share.spec()["vram_bytes"]) == (["L4", "T4:1"], 6 * 10**9)
    _, any_type = make_app(vram="24GB")
    assert "gpu" not in any_type.spec()
    assert any_type.spec()["vram_bytes"] == 24 * 10**9


def test_calling_a_function_directly_names_the_two_ways() -> None:
    _, function = make_app()
    with pytest.raises(InvalidArgumentError, match=r"double.remote.*double.local"):
        function(1)
    assert function.local(3, by=3) == 9
    assert function.__doc__ == "Doubles."


def test_only_what_a_container_can_find_is_accepted() -> None:
    app = ember.App("a")

    def inner() -> None:
        pass

    for wrong, message in [
        (inner, "at the top of its module"),
        (lambda: 1, "at the top of its module"),
        (print, "not for builtin"),
        (5, "not for int"),
    ]:
        with pytest.raises(InvalidArgumentError, match=message):
            app.function()(wrong)  # pyright: ignore[reportArgumentType]
    app.function()(double)
    with pytest.raises(InvalidArgumentError, match="two functions"):
        app.function()(double)


def test_a_generator_is_iterated_and_another_function_is_not() -> None:
    app = ember.App("a")
    words, ticks = app.function()(some_words), app.function()(some_ticks)
    assert (words.spec()["is_generator"], words.spec()["is_async"]) == (True, False)
    assert (ticks.spec()["is_generator"], ticks.spec()["is_async"]) == (True, True)
    plain = app.function()(double)
    assert plain.spec()["is_generator"] is False
    assert list(words.local("a b")) == ["a", "b"]
    for wrong in (
        lambda: words.remote("a"),
        lambda: words.remote.aio("a"),
        lambda: words.spawn("a"),
        lambda: words.with_options(timeout=5).remote("a"),
    ):
        with pytest.raises(InvalidArgumentError, match=r"some_words\.remote_gen\("):
            wrong()
    for wrong in (lambda: plain.remote_gen(1), lambda: plain.remote_gen.aio(1)):
        with pytest.raises(InvalidArgumentError, match=r"double\.remote\("):
            wrong()
    with pytest.raises(InvalidArgumentError, match=r"some_words\.remote_gen\("):
        words("a")


def test_a_generator_is_not_called_before_its_first_item_is_asked_for() -> None:
    unknown = ember.Function.from_name("a", "b")
    unknown.remote_gen(1).close()  # no server is known here
    with pytest.raises(InvalidArgumentError, match="can't be pickled"):
        unknown.remote_gen(threading.Lock())


def test_concurrent_stands_above_or_below() -> None:
    app = ember.App("a")
    above = ember.concurrent(max_inputs=8, target_inputs=4)(app.function()(double))
    below = app.function(name="below")(ember.concurrent(max_inputs=8, target_inputs=4)(double))
    for function in (above, below):
        assert (function.spec()["max_inputs"], function.spec()["target_inputs"]) == (8, 4)
    assert app.function()(later).is_async
    with pytest.raises(InvalidArgumentError, match="target_inputs"):
        ember.concurrent(max_inputs=2, target_inputs=3)


def no_upload(files: object) -> str:
    raise AssertionError(f"{files!r} has nothing to upload")


def test_images_are_immutable_chains() -> None:
    base = ember.Image.host()
    image = base.uv_pip_install("numpy", "pillow>=10").uv_pip_install("httpx")
    assert base.spec(no_upload) == {"base": "host", "steps": []}
    assert image.spec(no_upload)["steps"] == [
        {"kind": "uv_pip_install", "arguments": ["numpy", "pillow>=10"]},
        {"kind": "uv_pip_install", "arguments": ["httpx"]},
    ]
    alone = base.uv_pip_install("weights", no_deps=True).spec(no_upload)["steps"]
    assert alone == [
        {"kind": "uv_pip_install", "arguments": ["weights"], "options": {"no_deps": "true"}}
    ]
    for wrong in [(), ("",), ("--index-url",), (3,)]:
        with pytest.raises(InvalidArgumentError, match="uv_pip_install"):
            base.uv_pip_install(*wrong)  # pyright: ignore[reportArgumentType]


def test_parameters_are_told_by_their_plain_types() -> None:
    def f(a, b: "str | None", c: list[int], d: "dict[str, None]", *e: int, g: bytes = b"", **h):  # noqa: UP037
        pass

    told = [(p.name, p.kind, p.annotation, p.required) for p in parameters(f)]
    assert told == [
        ("a", "positional_or_keyword", "any", True),
        ("b", "positional_or_keyword", "str", True),
        ("c", "positional_or_keyword", "list", True),
        ("d", "positional_or_keyword", "dict", True),
        ("e", "args", "any", False),
        ("g", "keyword_only", "bytes", False),
        ("h", "kwargs", "any", False),
    ]


def test_a_handle_by_name_is_lazy_and_has_no_code() -> None:
    handle = ember.Function.from_name("nowhere", "nothing")
    with pytest.raises(InvalidArgumentError, match="looked up by name"):
        handle.local()
    again = pickle.loads(pickle.dumps(handle))
    assert (again.app_name, again.name) == ("nowhere", "nothing")


def test_importing_ember_loads_next_to_nothing() -> None:
    code = (
        "import sys, ember; before = set(sys.modules); ember.App('a').function(gpu='L4');"
        "print(*{'json', 're', 'socket', 'typing', 'inspect', 'asyncio', 'httpx', 'threading',"
        "'cloudpickle', 'http.client'} & set(sys.modules))"
    )
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": root}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == ""


# --- source ---


@pytest.fixture
def script_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory to import from; modules from it are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_script_travels_with_its_siblings_and_packages(script_directory: Path) -> None:
    for name in [
        "main.py", "helper.py", "notes.txt", ".hidden.py", "lib/__init__.py", "lib/data.json",
        "lib/deep/more.py", "lib/__pycache__/x.pyc", "plain/loose.py", "venv/pyvenv.cfg",
        "node_modules/a.py", "build/b.py",
    ]:  # fmt: skip
        path = script_directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    _load.load_module(str(script_directory / "main.py"))
    source = _source.collect(["main"])
    assert sorted(source.files) == [
        "helper.py", "lib/__init__.py", "lib/data.json", "lib/deep/more.py", "main.py",
    ]  # fmt: skip
    assert source.left_out == ["notes.txt", "plain/"]
    assert source.summary() == f"5 files, 0.0 kB of {script_directory}"
    assert source.left_out_text() == "notes.txt, plain/"


def test_a_module_in_a_package_travels_from_above_it(script_directory: Path) -> None:
    package = script_directory / "pack" / "inner"
    package.mkdir(parents=True)
    for directory in (package, package.parent):
        (directory / "__init__.py").write_text("")
    (package / "job.py").write_text("from ..shared import X")
    (package.parent / "shared.py").write_text("X = 1")
    module = _load.load_module(str(package / "job.py"))
    assert module.__name__ == "pack.inner.job"
    assert sorted(_source.collect(["pack.inner.job"]).files) == [
        "pack/__init__.py", "pack/inner/__init__.py", "pack/inner/job.py", "pack/shared.py",
    ]  # fmt: skip


def test_too_much_source_is_refused(
    script_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script_directory / "main.py").write_text("")
    (script_directory / "two.py").write_text("")
    _load.load_module(str(script_directory / "main.py"))
    monkeypatch.setattr(_source, "MAX_FILES", 1)
    with pytest.raises(InvalidArgumentError, match="too much source"):
        _source.collect(["main"])


# --- loading ---


def test_a_script_is_imported_under_its_own_name(script_directory: Path) -> None:
    path = script_directory / "job.py"
    path.write_text("import ember\napp = ember.App('job')\nclass T: pass\n")
    module, app = _load.load(str(path))
    assert (module.__name__, app.name, module.T.__module__) == ("job", "job", "job")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("no.txt", "", "is not a .py file"),
        ("gone.py", None, "is not there"),
        ("my-job.py", "", "rename it"),
        ("job.py", "", "has no app"),
        (
            "job.py",
            "import ember\na = ember.App('a')\nb = ember.App('b')",
            r"several apps \(a, b\)",
        ),
        ("job.py", "1 / 0", "ZeroDivisionError: division by zero"),
        ("job.py", "def f(:", "SyntaxError"),
        ("json.py", "", "a module named json is loaded already"),
    ],
)
def test_scripts_that_do_not_load_say_why(
    script_directory: Path, name: str, text: str | None, message: str
) -> None:
    path = script_directory / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(_load.ScriptError, match=message):
        _load.load(str(path))


def test_the_traceback_of_a_script_shows_the_users_frames_only(script_directory: Path) -> None:
    path = script_directory / "job.py"
    path.write_text("def f():\n    raise ValueError('no')\nf()\n")
    with pytest.raises(_load.ScriptError) as raised:
        _load.load(str(path))
    lines = raised.value.traceback.splitlines()
    assert "job.py" in lines[1]
    assert "importlib" not in raised.value.traceback


# --- deploying and calling ---


class Platform:
    """As much of the server as a deploy needs."""

    def __init__(self) -> None:
        self.blobs: set[str] = set()
        self.events: list[str] = []
        self.deployed: dict[str, Any] = {}
        self.heard = threading.Event()
        self.build: list[bytes] = [b'{"line": "pip"}\n{"image_id": "im-1", "ready": true}\n']
        self.server = FakeServer(self.answer)

    def answer(self, asked: Asked) -> Answer:
        self.events.append(f"{asked.method} {asked.path}")
        if asked.path == "/api/v1/images":
            return 200, {}, self.build
        if asked.path == "/api/v1/sources":
            digests = {file["sha256"] for file in asked.json["files"]}
            return document({"digest": "src-1", "missing": sorted(digests - self.blobs)})
        if asked.path.startswith("/api/v1/blobs/"):
            assert hashlib.sha256(asked.body).hexdigest() == asked.path.rpartition("/")[2]
            self.blobs.add(asked.path.rpartition("/")[2])
            return document({})
        if asked.path.endswith("/deploy"):
            self.deployed = asked.json
            functions = [
                {"name": f["name"], "function_id": "fu-1", "url": "u"}
                for f in asked.json["functions"]
            ]
            return document(
                {
                    "app": "sums",
                    "app_id": "ap-1",
                    "version": 3,
                    "serving": 3,
                    "url": "u",
                    "functions": functions,
                }
            )
        if asked.path.startswith("/fn/"):
            args, kwargs = pickle.loads(asked.body)
            return 200, {}, pickle.dumps(double(*args, **kwargs))
        if asked.path.endswith("/heartbeat"):
            self.heard.set()
        return document({})


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    platform = Platform()
    monkeypatch.setenv("EMBER_URL", platform.server.url)
    monkeypatch.setenv("EMBER_KEY", "k")
    monkeypatch.setattr(_client, "_shared", None)
    yield platform
    platform.server.close()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, platform: Platform) -> None:
    gone = tmp_path / "gone.py"
    with pytest.raises(InvalidArgumentError, match=rf"{gone} cannot be read: No such file"):
        _source.upload_files({"gone.py": str(gone)}, _client.shared())


def test_deploy_builds_uploads_and_switches_in_this_order(platform: Platform) -> None:
    app, _ = make_app(image=ember.Image.host().uv_pip_install("numpy"))
    app.function()(later)
    told: list[tuple[str, str]] = []
    deployment = deploy(app, progress=lambda stage, line: told.append((stage, line)))
    assert (deployment.version, deployment.functions[0]["name"]) == (3, "double")
    stages = [stage for stage, _ in told]
    assert stages == ["image", "image_line", "image", "image_line", "source", "upload", "deploy"]
    assert told[0] == ("image", "host, numpy")
    assert platform.events[-1] == "POST /api/v1/apps/sums/deploy"
    assert platform.deployed["source"] == "src-1"
    assert platform.deployed["ephemeral"] is False
    assert [f["image"]["base"] for f in platform.deployed["functions"]] == ["host", "host"]
    platform.events.clear()
    app.deploy()
    assert not any(event.startswith("PUT") for event in platform.events)


def test_an_image_that_fails_to_build_raises_its_error(platform: Platform) -> None:
    platform.build = [
        b'{"image_id": "im-1", "ready": false, "error": {"code": "conflict", "message": "bad"}}'
    ]
    app, _ = make_app()
    with pytest.raises(ConflictError, match="bad"):
        app.deploy()
    platform.build = [b'{"line": "and then nothing"}\n']
    with pytest.raises(EmberError, match="without a result"):
        app.deploy()


def test_an_app_without_functions_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="has no functions"):
        ember.App("empty").deploy()


def test_an_ephemeral_app_beats_and_is_stopped_at_the_end(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ember._heartbeat._EVERY_S", 0.01)
    app, function = make_app()
    with pytest.raises(RuntimeError, match="from the block"), app.run():
        assert platform.deployed["ephemeral"] is True
        assert function.remote(4) == 8
        assert platform.heard.wait(30)
        raise RuntimeError("from the block")
    assert platform.events[-1] == "POST /api/v1/apps/sums/stop"


def test_remote_calls_by_name_in_both_styles(platform: Platform) -> None:
    handle = ember.Function.from_name("sums", "double")
    assert handle.remote(4, by=3) == 12

    async def both() -> list[float]:
        return list(await asyncio.gather(handle.remote.aio(1), handle.remote.aio(2)))

    assert asyncio.run(both()) == [2, 4]
    assert platform.events[0] == "POST /fn/sums/double"


def test_arguments_that_cannot_travel_are_refused(platform: Platform) -> None:
    with pytest.raises(InvalidArgumentError, match="can't be pickled"):
        ember.Function.from_name("sums", "double").remote(threading.Lock())
    assert platform.events == []


def test_outside_of_containers_nothing_is_current() -> None:
    assert ember.is_local()
    assert ember.current_call_id() is None
    assert ember.current_input_id() is None

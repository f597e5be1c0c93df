"""Classes as they are declared and called: what a deploy says, handles, and clear refusals."""

from __future__ import annotations

import asyncio
import json
import pickle
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fake_server import Answer, Asked, FakeServer

import ember
from ember import _client, _config, _variant
from ember.exception import InvalidArgumentError, NotFoundError

app = ember.App("shelf")
entered: list[str] = []


@app.cls(cpu=2, name="Shelf", spread=True)
@ember.concurrent(max_inputs=4, target_inputs=2)
class Model:
    """Predicts."""

    size: str = ember.parameter(default="7b")
    layers: int = ember.parameter(default=1)
    token: bytes = ember.parameter(default=b"\0")
    weights: list = ember.parameter(init=False)

    @ember.enter()
    def load(self) -> None:
        entered.append(f"load {self.size}")
        self.weights = [self.size] * self.layers

    @ember.enter(snap=True)
    def prepare(self) -> None:
        entered.append("prepare")

    @ember.method()
    def predict(self, x: int, *, top: str = "a") -> tuple[int, str, list[str]]:
        return x + self.helper(1), top, self.weights

    @ember.method()
    async def later(self, x: int) -> int:
        return x

    @ember.method()
    def own(self) -> Any:
        return self.predict.remote(1)

    def helper(self, by: int) -> int:
        return by

    @ember.exit()
    def close(self) -> None:
        entered.append("close")


@app.cls()
class Needs:
    name: str = ember.parameter()

    @ember.method()
    def hello(self) -> str:
        return f"hello {self.name}"


@app.cls()
class Talker:
    @ember.enter()
    async def load(self) -> None:
        self.words = ["a", "b"]

    @ember.method()
    def say(self) -> Iterator[str]:
        yield from self.words

    @ember.method()
    async def later(self) -> AsyncIterator[str]:
        for word in self.words:
            yield word

    @ember.method()
    def plain(self) -> int:
        return len(self.words)


moving = ember.App("before")


@moving.cls()
class Thing:
    @ember.method()
    def f(self) -> None: ...


@app.function()
def plain(x: int = 1) -> int:
    return x


def test_a_class_is_one_function_of_a_deploy() -> None:
    spec = Model.spec()
    assert (spec["name"], spec["qualname"], spec["module"]) == ("Shelf", "Model", __name__)
    assert spec["is_async"] and spec["spread"] and spec["cpu_millicores"] == 2000
    assert (spec["max_inputs"], spec["target_inputs"]) == (4, 2)
    assert [method["name"] for method in spec["methods"]] == ["predict", "later", "own"]
    assert [method["is_async"] for method in spec["methods"]] == [False, True, False]
    assert [p["name"] for p in spec["methods"][0]["parameters"]] == ["x", "top"]
    assert spec["class_parameters"] == [
        {"name": "size", "annotation": "str", "required": False, "default": "7b"},
        {"name": "layers", "annotation": "int", "required": False, "default": 1},
        {"name": "token", "annotation": "bytes", "required": False, "default": "AA=="},
    ]
    assert not Needs.spec()["is_async"]
    assert Needs.spec()["class_parameters"][0]["required"]


def test_local_calls_enter_once_and_snap_hooks_come_first() -> None:
    entered.clear()
    model = Model(size="70b", layers=2)
    assert model.predict.local(1) == (2, "a", ["70b", "70b"])
    assert model.predict.local(2, top="b") == (3, "b", ["70b", "70b"])
    assert asyncio.run(model.later.local(5)) == 5
    assert entered == ["prepare", "load 70b"]
    assert (model.size, model.layers, model.token) == ("70b", 2, b"\0")


class _Slow:
    made = 0

    @ember.enter()
    async def load(self) -> None:
        await asyncio.sleep(0)
        type(self).made += 1
        if self.made == 1:
            raise OSError("not yet")
        self.loaded = True

    @ember.method()
    async def get(self) -> bool:
        return self.loaded

    @ember.method()
    def plain(self) -> bool:
        return self.loaded


Slow = ember.App("slow").cls(name="Slow")(_Slow)


def test_local_async_hooks_run_once_and_again_after_they_failed() -> None:
    slow = Slow()

    async def twice() -> tuple[bool, bool]:
        return await asyncio.gather(slow.get.local(), slow.get.local())

    with pytest.raises(OSError, match="not yet"):
        asyncio.run(slow.get.local())
    assert list(asyncio.run(twice())) == [True, True]
    assert _Slow.made == 2
    assert slow.plain.local() and Slow().plain.local()

    async def inside() -> bool:
        return Slow().plain.local()

    with pytest.raises(InvalidArgumentError, match="inside of a running event loop"):
        asyncio.run(inside())


def test_parameters_that_are_as_their_defaults_need_no_pool_of_their_own() -> None:
    assert Model().predict.variant is None
    assert Model(size="7b", token=b"\0").predict.variant is None
    variant = Model(token=b"\1", size="1b").predict.variant
    assert variant is not None
    assert variant.parameters == {"token": "AQ==", "size": "1b"}
    assert variant.text == Model(size="1b", token=b"\1").later.variant.text


def test_instances_and_methods_travel_as_handles() -> None:
    options = Model.with_options(memory=256, gpu="L4").with_concurrency(max_inputs=3)
    model = options(size="1b")
    for copy in (pickle.loads(pickle.dumps(model)), pickle.loads(pickle.dumps(options))(size="1b")):
        assert copy.predict.name == "Shelf.predict"
        assert copy.predict.variant.text == model.predict.variant.text
    method = pickle.loads(pickle.dumps(model.predict))
    assert method.variant.options == {
        "memory_bytes": 256 << 20, "gpu": ["L4"], "max_inputs": 3, "target_inputs": 3,
    }  # fmt: skip
    function = pickle.loads(pickle.dumps(plain.with_options(timeout=5)))
    assert function.variant.options == {"timeout_ms": 5000}
    with pytest.raises(InvalidArgumentError, match="looked up by name"):
        _ = method.local


def test_handles_that_are_made_of_others_follow_the_name_of_their_app() -> None:
    derived, method = Thing.with_options(cpu=1), Thing().f
    moving.rename("after")
    assert (derived.app_name, method.app_name) == ("after", "after")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sizes": "7b"}, 'unknown parameter "sizes"; it takes size, layers, token'),
        ({"weights": []}, 'unknown parameter "weights"'),
        ({"layers": "2"}, "layers: expected int, got str"),
        ({"layers": True}, "layers: expected int, got bool"),
        ({"size": None}, "size: expected str, got NoneType"),
    ],
)
def test_wrong_parameters_are_refused_where_the_instance_is_made(
    given: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        Model(**given)


def test_what_must_be_given_is_asked_for() -> None:
    with pytest.raises(InvalidArgumentError, match='missing "name"; it takes name'):
        Needs()
    with pytest.raises(InvalidArgumentError, match="by name"):
        Needs("Ada")
    with pytest.raises(AttributeError, match="has no method 'hallo'; it has: hello"):
        getattr(Needs(name="Ada"), "hal" + "lo")


def _declare(body: str, above: str = "@app.cls()") -> None:
    lines = "\n".join("    " + line for line in body.splitlines())
    source = f"import ember\napp = ember.App('a')\n{above}\nclass C:\n{lines}\n"
    exec(source, {"__name__": "m"})


_METHOD = "\n@ember.method()\ndef f(self): pass"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def __init__(self): pass" + _METHOD, "no __init__ of its own.*ember.parameter.*enter"),
        ("x = 1", "has no method: put @ember.method"),
        ("x: float = ember.parameter(default=1.0)" + _METHOD, "annotate.*str, int, bool or bytes"),
        ("x = ember.parameter()" + _METHOD, "annotate.*as in x: str"),
        ("x: int = ember.parameter(default='a')" + _METHOD, "default is of type str, not int"),
        ("@ember.method()\ndef enter(self): pass", "can't have the name of a hook.*@ember.enter"),
        ("@ember.method()\ndef __exit__(self): pass", "can't have the name of a hook.*@ember.exit"),
        ("@ember.method()\n@ember.enter()\ndef f(self): pass", "both a method and a hook"),
        ("@ember.enter()\n@ember.method()\ndef f(self): pass", "can't be two things"),
        ("@ember.enter()\ndef load(self, x): pass" + _METHOD, "takes nothing but self"),
        ("@ember.method()\ndef f(): pass", "take self"),
        ("@ember.fastapi_endpoint()\ndef f(self): yield 1", "f: a web endpoint.*StreamingResponse"),
        ("@ember.method()\n@ember.concurrent(max_inputs=2)\ndef f(self): pass", "above the class"),
        ("@ember.concurrent(max_inputs=2)\n@ember.method()\ndef f(self): pass", "above the class"),
    ],
)
def test_what_cannot_be_an_ember_class_is_refused_where_it_stands(body: str, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        _declare(body)


def test_a_method_may_yield_and_its_object_is_entered_first_here_too() -> None:
    talker = Talker()
    said = {method["name"]: method for method in Talker.spec()["methods"]}
    assert (said["say"]["is_generator"], said["say"]["is_async"]) == (True, False)
    assert (said["later"]["is_generator"], said["later"]["is_async"]) == (True, True)
    assert "is_generator" not in said["plain"]
    for refused in (talker.say.remote, talker.plain.remote_gen):
        with pytest.raises(InvalidArgumentError, match=r"generator function"):
            refused()

    async def items() -> list[str]:
        return [item async for item in Talker().later.local()]

    assert asyncio.run(items()) == ["a", "b"]
    assert list(talker.say.local()) == ["a", "b"]


def test_concurrency_may_stand_above_a_class_too() -> None:
    assert ember.concurrent(max_inputs=9)(Thing) is Thing
    assert Thing.spec()["max_inputs"] == 9


def test_no_class_derives_from_an_ember_class() -> None:
    with pytest.raises(InvalidArgumentError, match="inherit from that"):

        class _(Thing): ...  # pyright: ignore[reportGeneralTypeIssues]


def test_classes_and_functions_are_not_taken_for_each_other() -> None:
    with pytest.raises(InvalidArgumentError, match=r"is a class: use @app.cls"):
        _declare("x = 1", above="@app.function()")
    with pytest.raises(InvalidArgumentError, match=r"use @app.function"):
        app.cls()(plain)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidArgumentError, match="options are the class's"):
        Model().predict.with_options(cpu=1)
    with pytest.raises(InvalidArgumentError, match="image can't differ"):
        Model.with_options(image=None)  # pyright: ignore[reportCallIssue]


class Home:
    """A server that knows variants until it is told to forget them."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.registered: list[dict[str, Any]] = []
        self.unchanged = False
        self.server = FakeServer(self.answer)

    def answer(self, asked: Asked) -> Answer:
        if asked.path.endswith("/variants"):
            self.registered.append({"path": asked.path, **asked.json})
            id = None if self.unchanged else f"va-{len(self.registered)}"
            self.known.add(str(id))
            return 200, {}, json.dumps({"variant": id}).encode()
        _, _, id = asked.path.partition("?variant=")
        if id and id not in self.known:
            body = {"error": {"code": "unknown_variant", "message": "no such variant"}}
            return 404, {}, json.dumps(body).encode()
        data = pickle.dumps(asked.path)
        if asked.path.startswith("/fn/shelf/spout"):
            items = struct.pack("<BI", 1, len(data)) + data + struct.pack("<BI", 3, 2) + b"{}"
            return 200, {"Content-Type": "application/x-ember-items"}, [items]
        return 200, {}, data


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    home = Home()
    monkeypatch.setattr(_variant, "_ids", {})
    monkeypatch.setattr(
        _client, "_shared", _client.Client(_config.Config(url=home.server.url, key="ek-1"))
    )
    yield home
    home.server.close()


def test_a_variant_is_registered_once_and_named_by_every_call(home: Home) -> None:
    model = Model.with_options(cpu=1)(size="1b")
    assert model.predict.remote(1) == "/fn/shelf/Shelf.predict?variant=va-1"
    assert model.later.remote(1) == "/fn/shelf/Shelf.later?variant=va-1"
    assert asyncio.run(model.later.remote.aio(1)) == "/fn/shelf/Shelf.later?variant=va-1"
    assert home.registered == [
        {
            "path": "/api/v1/apps/shelf/functions/Shelf/variants",
            "parameters": {"size": "1b"},
            "options": {"cpu_millicores": 1000},
        }
    ]
    assert Model().predict.remote(1) == "/fn/shelf/Shelf.predict"
    assert plain.with_options(timeout=9).remote() == "/fn/shelf/plain?variant=va-2"


def test_the_items_of_a_variant_are_asked_of_it(home: Home) -> None:
    async def read(function: ember.Function[..., Any]) -> list[Any]:
        return [item async for item in function.remote_gen.aio()]

    other = ember.Function.from_name("shelf", "spout").with_options(cpu=1)
    assert list(other.remote_gen()) == ["/fn/shelf/spout?variant=va-1"]
    home.known.clear()
    assert list(other.remote_gen()) == ["/fn/shelf/spout?variant=va-2"]
    home.known.clear()
    assert asyncio.run(read(other)) == ["/fn/shelf/spout?variant=va-3"]
    assert asyncio.run(read(ember.Function.from_name("shelf", "spout"))) == ["/fn/shelf/spout"]


def test_a_variant_that_the_server_lost_is_registered_again_once(home: Home) -> None:
    model = ember.Cls.from_name("shelf", "Shelf")(size="1b")
    model.predict.remote(1)
    home.known.clear()
    assert model.predict.remote(1) == "/fn/shelf/Shelf.predict?variant=va-2"
    home.known.clear()
    assert asyncio.run(model.predict.remote.aio(1)) == "/fn/shelf/Shelf.predict?variant=va-3"

    class Forgetful(set):
        def add(self, _id: str) -> None: ...

    home.known = Forgetful()
    with pytest.raises(NotFoundError, match="no such variant"):
        model.predict.remote(1)
    assert len(home.registered) == 4


def test_what_the_server_finds_no_different_goes_to_the_plain_pool(home: Home) -> None:
    home.unchanged = True
    model = ember.Cls.from_name("shelf", "Shelf")(size="7b")
    assert model.predict.remote(1) == "/fn/shelf/Shelf.predict"
    assert model.predict.remote(1) == "/fn/shelf/Shelf.predict"
    assert len(home.registered) == 1

"""Web endpoints as they are declared."""

from __future__ import annotations

from typing import Any

import pytest

import ember
from ember.exception import InvalidArgumentError

APP = ember.App("shop")


@APP.function(timeout=60)
@ember.asgi_app(label="front", unauthenticated=True)
def site() -> Any:
    return None


@APP.function()
@ember.fastapi_endpoint(method="POST")
def price(item: str) -> str:
    return item


@ember.concurrent(max_inputs=7)
@APP.function(name="files-1")
@ember.web_server(8000, startup_timeout=5)
def files() -> None:
    pass


@APP.function()
@ember.wsgi_app()
@ember.concurrent(max_inputs=3, target_inputs=2)
def old() -> Any:
    return None


@APP.cls()
class Model:
    @ember.method()
    def size(self) -> int:
        return 1

    @ember.asgi_app(label="model")
    def page(self) -> Any:
        return self.size()


def test_a_deploy_says_what_an_endpoint_is() -> None:
    spec = site.spec()
    assert spec["web"] == {"kind": "asgi", "label": "front", "unauthenticated": True}
    assert (spec["is_async"], spec["qualname"], spec["timeout_ms"]) == (True, "site", 60_000)
    assert price.spec()["web"] == {"kind": "fastapi", "label": "", "unauthenticated": False}
    assert files.spec()["web"]["kind"] == "server"


def test_apps_take_many_requests_at_once_and_functions_one() -> None:
    assert site.spec()["max_inputs"] == 100
    assert price.spec()["max_inputs"] == 1
    assert files.spec()["max_inputs"] == 7
    assert (old.spec()["max_inputs"], old.spec()["target_inputs"]) == (3, 2)


def test_a_class_has_endpoints_beside_its_methods() -> None:
    size, page = Model.spec()["methods"]
    assert "web" not in size
    assert page == {
        "name": "page",
        "is_async": True,
        "web": {"kind": "asgi", "label": "model", "unauthenticated": False},
    }
    assert Model.spec()["is_async"] is True


def test_an_endpoint_is_called_by_its_url_alone() -> None:
    for call in (site.remote, site.remote_gen, Model().page.remote):
        with pytest.raises(InvalidArgumentError, match=r"get_web_url\(\)"):
            call()


@pytest.mark.parametrize("label", ["", "A", "a.b", "-a", "a-", "ä", "a" * 64, 5])
def test_a_label_is_a_part_of_a_host_name(label: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="label must be"):
        ember.asgi_app(label=label)


def test_what_a_server_listens_on_is_checked() -> None:
    for port in (0, 65536, "80", True):
        with pytest.raises(InvalidArgumentError, match="port must be"):
            ember.web_server(port)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidArgumentError, match="startup_timeout must be"):
        ember.web_server(80, startup_timeout=0)
    with pytest.raises(InvalidArgumentError, match="method must be one of"):
        ember.fastapi_endpoint(method="get")


ABOVE, BELOW = "@app.function()\n", "def f(): ...\n"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("@ember.asgi_app()\n" + ABOVE + BELOW, "right above its function"),
        (
            "@app.cls()\nclass C:\n @ember.asgi_app()\n @ember.method()\n def m(self): ...\n",
            "right above its function",
        ),
        (ABOVE + "@ember.asgi_app()\ndef f(x): ...\n", "takes nothing"),
        (
            "@app.function(schedule=ember.Period(hours=1))\n@ember.asgi_app()\n" + BELOW,
            "has no schedule",
        ),
        (
            "@app.cls()\nclass C:\n"
            " @ember.concurrent(max_inputs=2)\n @ember.asgi_app()\n def m(self): ...\n",
            "stands above the class",
        ),
        (
            "@app.cls()\nclass C:\n"
            " @ember.asgi_app()\n @ember.concurrent(max_inputs=2)\n def m(self): ...\n",
            "stands above the class",
        ),
        ("@app.cls()\nclass C:\n @ember.asgi_app()\n def m(): ...\n", "a method takes self"),
        (
            ABOVE + "@ember.asgi_app()\n@ember.batched(max_batch_size=2, wait_ms=1)\n" + BELOW,
            "batched",
        ),
        (
            ABOVE + "@ember.batched(max_batch_size=2, wait_ms=1)\n@ember.asgi_app()\n" + BELOW,
            "batched",
        ),
        (
            "@app.cls()\nclass C:\n size: str = ember.parameter()\n"
            " @ember.asgi_app()\n def m(self): ...\n",
            "give a default to size",
        ),
    ],
)
def test_what_is_declared_otherwise_is_refused(source: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why):
        exec(source, {"ember": ember, "app": ember.App("x"), "__name__": "declared"})

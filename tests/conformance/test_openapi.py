"""What a running server answers is what its OpenAPI document says.

Asks the server named by EMBER_URL with the key EMBER_KEY; skipped where there is none. Looks only: nothing is changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

URL = os.environ.get("EMBER_URL", "")
KEY = os.environ.get("EMBER_KEY", "")
UNKNOWN = {
    "{app}": "no-such-app",
    "{id}": "fc-0000000000001",
    "{function}": "no-such-function",
    "{sha256}": "0" * 64,
    "{key}": "no-such-key",
    "{secret}": "no-such-secret",
    "{lease}": "no-such-lease",
    "{volume}": "no-such-volume",
    "{dict}": "no-such-dict",
    "{queue}": "no-such-queue",
    "{index}": "0",
}

pytestmark = pytest.mark.skipif(not (URL and KEY), reason="no server: set EMBER_URL and EMBER_KEY")

Json = Any


@dataclass(frozen=True)
class Server:
    """A server, its document, and how to hold an answer against it."""

    client: httpx.Client
    document: Json

    def check(self, answer: httpx.Response, path: str, method: str = "get") -> None:
        """Fails unless status, media type, headers and body are as the document says."""
        responses = self.document["paths"][path][method]["responses"]
        status = str(answer.status_code)
        assert status in responses, (
            f"{method} {path} answered {status}, which is not documented: {answer.text}"
        )
        response = self.resolve(responses[status])
        media = answer.headers["content-type"].split(";")[0]
        assert media in response["content"], f"{method} {path} answered {media}"
        for name, header in response.get("headers", {}).items():
            assert not header.get("required") or name in answer.headers, (
                f"{method} {path}: no {name}"
            )
        schema = response["content"][media]["schema"]
        for document in documents(answer, media):
            self.validate(document, schema)

    def resolve(self, node: Json) -> Json:
        if "$ref" not in node:
            return node
        found = self.document
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return found

    def validate(self, value: Json, schema: Json) -> None:
        # The document's components come along, so that its references resolve.
        validator = Draft202012Validator({**schema, "components": self.document["components"]})
        problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
        assert not problems, "\n".join(problems)

    def paths(self, method: str) -> list[str]:
        return [path for path, item in self.document["paths"].items() if method in item]


def documents(answer: httpx.Response, media: str) -> Iterator[Json]:
    if media == "application/json":
        yield answer.json()
    elif media == "application/x-ndjson":
        yield from (json.loads(line) for line in answer.text.splitlines() if line)
    else:
        yield answer.text


def filled(path: str) -> str:
    for name, value in UNKNOWN.items():
        path = path.replace(name, value)
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with httpx.Client(base_url=URL, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield Server(client, httpx.get(f"{URL}/api/openapi.json").raise_for_status().json())


def test_the_document_is_openapi_3_1_with_valid_schemas(server: Server) -> None:
    assert server.document["openapi"].startswith("3.1.")
    for name, schema in server.document["components"]["schemas"].items():
        assert name
        Draft202012Validator.check_schema(schema)


def test_lists_answer_as_documented(server: Server) -> None:
    for path in server.paths("get"):
        if "{" in path or path == "/api/v1/logs":
            continue
        answer = server.client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        server.check(answer, path)


def test_costs_answer_as_documented_however_they_are_grouped(server: Server) -> None:
    for by in ("app", "function", "day", "phase", "meter", "app,day,meter"):
        server.check(server.client.get("/api/v1/cost", params={"by": by}), "/api/v1/cost")


def test_each_app_answers_as_documented(server: Server) -> None:
    for app in server.client.get("/api/v1/apps").json()["apps"]:
        for path in ("/api/v1/apps/{app}", "/api/v1/apps/{app}/history"):
            server.check(server.client.get(path.replace("{app}", app["name"])), path)
        logs = server.client.get("/api/v1/logs", params={"app": app["name"]})
        server.check(logs, "/api/v1/logs")


def test_each_recent_call_answers_as_documented(server: Server) -> None:
    for call in server.client.get("/api/v1/calls", params={"limit": 20}).json()["calls"]:
        for path in ("/api/v1/calls/{id}", "/api/v1/calls/{id}/cost"):
            server.check(server.client.get(path.replace("{id}", call["call_id"])), path)


def test_unknown_names_answer_404_as_documented(server: Server) -> None:
    for path in server.paths("get"):
        if "{" in path:
            answer = server.client.get(filled(path))
            assert answer.status_code == 404, f"{path}: {answer.text}"
            server.check(answer, path)
    answer = server.client.post(filled("/fn/{app}/{function}"), json={})
    assert answer.status_code == 404
    server.check(answer, "/fn/{app}/{function}", "post")


def test_every_route_refuses_a_missing_and_a_wrong_key(server: Server) -> None:
    for path, item in server.document["paths"].items():
        for method, operation in item.items():
            if operation.get("security") == []:
                continue
            for headers in ({}, {"Authorization": "Bearer no-such-key"}):
                answer = httpx.request(method, URL + filled(path), headers=headers)
                assert answer.status_code == 401, f"{method} {path}: {answer.text}"
                server.check(answer, path, method)


def test_a_path_names_the_methods_it_takes(server: Server) -> None:
    for path, item in server.document["paths"].items():
        answer = server.client.request("PATCH", filled(path))
        assert answer.status_code == 405
        for method in item:
            assert method.upper() in answer.headers["Allow"]
            server.check(answer, path, method)

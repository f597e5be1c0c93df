"""Dockerfiles and requirements of the kinds that real projects have, each built and run."""

from __future__ import annotations

import functools
import http.server
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import REPOSITORY, Server, running_builder
from image_project import Project
from registry import running_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECTS = Path(__file__).resolve().parent / "projects"
TOOLS = ("crun", "mmdebstrap", "skopeo", "umoci", "buildah", "docker-registry")


class Workshop:
    """A server, a registry with a base of Debian's, and an index of packages of our own."""

    def __init__(self, server: Server, registry: str, index: str) -> None:
        self.server = server
        self.registry = registry
        self.base = f"{registry}/python:slim"
        self.index = index

    def project(self, name: str, directory: Path) -> Project:
        """A copy of one of the projects."""
        shutil.copytree(PROJECTS / name, directory / name)
        return Project(self.server, directory)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An index on an address of this machine that is not its loopback's; its URL."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        try:
            out.connect(("1.1.1.1", 9))  # sends nothing
        except OSError as error:
            pytest.skip(f"this machine has a loopback alone: {error}")
        address = out.getsockname()[0]
    directory = tmp_path_factory.mktemp("index")
    place = directory / "simple" / "emberprivate"
    place.mkdir(parents=True)
    info = "emberprivate-1.0.dist-info"
    with zipfile.ZipFile(place / "emberprivate-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("emberprivate.py", "WHENCE = 'the private index'\n")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: emberprivate\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    server = http.server.ThreadingHTTPServer((address, 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}/simple/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def workshop(index: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    address = index.split("//")[1].split(":")[0]
    with (
        running_builder(*TOOLS, options=("--allow-network", address)) as server,
        running_registry() as registry,
    ):
        made = Workshop(server, registry, index)
        Project(server, tmp_path_factory.mktemp("base")).deploy(
            'ember.Image.debian_slim().apt_install("python3-setuptools", "python3-wheel")'
        )
        (image,) = [i for i in server.json("image", "list")["images"] if i["used_by"]]
        server.cli("image", "push", image["image_id"], made.base)
        yield made


def build(project: Project, image: str) -> None:
    """Deploys it, and says how long that took."""
    began = time.monotonic()
    project.deploy(image)
    print(f"{project.directory.name}: {time.monotonic() - began:.1f} s")


def dockerfile(workshop: Workshop, name: str, more: str = "") -> str:
    return (
        f"ember.Image.from_dockerfile('{name}/Dockerfile', "
        f"build_args={{'BASE': '{workshop.base}'}}{more})"
    )


def test_a_web_api(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project("web_api", tmp_path)
    build(project, dockerfile(workshop, "web_api"))
    seen = project.look("/app/service.py")
    assert seen["directory"] == "/app"
    assert "Response" in seen["texts"]["/app/service.py"]
    assert seen["env"]["PYTHONUNBUFFERED"] == "1"
    command = "python3 -c 'import service; print(service.answer().status)'"
    assert project.run(command) == [0, "200 OK\n"]


def test_several_stages_and_a_target(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project("multi_stage", tmp_path)
    build(project, dockerfile(workshop, "multi_stage"))
    assert project.look()["env"]["STAGE"] == "final"
    assert project.run("python3 -c 'import speed; print(speed.twice(4))'; ls /wheels 2>&1") == [
        2,
        "8\nls: cannot access '/wheels': No such file or directory\n",
    ]
    assert project.run("which gcc")[0] == 1, "the compiler stayed in its stage"
    build(project, dockerfile(workshop, "multi_stage", ", target='tested'"))
    assert project.run("ls /wheels")[0] == 0


def test_arguments_before_and_after_from(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project("arguments", tmp_path)
    host, _, rest = workshop.base.partition("/")
    name, _, tag = rest.partition(":")
    arguments = {"REGISTRY": host, "IMAGE": name, "TAG": tag, "FLAVOUR": "two words"}
    build(project, f"ember.Image.from_dockerfile('arguments/Dockerfile', build_args={arguments})")
    assert project.text("/flavour") == "two words none\n"
    assert project.look()["env"]["FLAVOUR"] == "two words"


def test_files_of_a_user_that_is_not_root(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project("unprivileged", tmp_path)
    build(project, dockerfile(workshop, "unprivileged"))
    assert project.text("/home/worker/made") == "worker\n"
    owners = "stat -c '%U:%G %a' /home/worker/tool.sh /home/worker/data/one.txt"
    assert project.run(owners)[1].splitlines() == ["worker:worker 750", "worker:worker 644"]


def test_a_package_with_a_build_backend(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project("packaged", tmp_path)
    build(project, dockerfile(workshop, "packaged"))
    assert project.text("/greeting") == "Hello, Ada!\n"
    assert project.run("greeter Grace") == [0, "Hello, Grace!\n"]


def test_archives_patterns_and_what_is_ignored(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project("archives", tmp_path)
    inside = tmp_path / "inside.txt"
    inside.write_text("inside\n")
    with tarfile.open(tmp_path / "archives" / "vendored.tar.gz", "w:gz") as archive:
        archive.add(inside, "vendored/inside.txt")
    (tmp_path / "archives" / "secret.env").write_text("KEY=1\n")
    (tmp_path / "archives" / "conf.d" / "secret.env").write_text("KEY=1\n")
    build(project, dockerfile(workshop, "archives"))
    assert project.text("/opt/vendored/inside.txt") == "inside\n"
    assert project.run("ls /opt /etc/thing")[1].split() == [
        "/etc/thing:", "main.cfg", "more.cfg", "/opt:", "kept.tar.gz", "vendored",
    ]  # fmt: skip


def test_an_image_from_scratch(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project("from_scratch", tmp_path)
    build(project, dockerfile(workshop, "from_scratch"))
    assert project.look()["python"] == "/usr/bin/python3"
    assert project.run("ls /var")[0] == 2


def test_requirements_that_compile_c_code(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project("compiled", tmp_path)
    build(
        project,
        f"ember.Image.from_registry('{workshop.base}')"
        ".apt_install('gcc', 'libc6-dev', 'python3-dev')"
        ".pip_install_from_requirements('compiled/requirements.txt')",
    )
    command = "python3 -c 'import numpy, PIL, markupsafe._speedups as s; print(numpy.ones(2), s)'"
    status, output = project.run(command)
    assert (status, output.startswith("[1. 1.]")) == (0, True), output


def test_requirements_with_constraints_markers_and_extras(
    workshop: Workshop, tmp_path: Path
) -> None:
    project = workshop.project("constrained", tmp_path)
    build(
        project,
        f"ember.Image.from_registry('{workshop.base}')"
        ".pip_install_from_requirements('constrained/requirements.txt')",
    )
    command = "python3 -c 'import pandas, requests, socks; print(pandas.__version__)'"
    assert project.run(command) == [0, "2.2.2\n"]


def test_a_private_index(workshop: Workshop, tmp_path: Path) -> None:
    project = Project(workshop.server, tmp_path)
    build(
        project,
        f"ember.Image.from_registry('{workshop.base}')"
        f".pip_install('emberprivate', index_url='{workshop.index}')",
    )
    command = "python3 -c 'import emberprivate; print(emberprivate.WHENCE)'"
    assert project.run(command) == [0, "the private index\n"]


def test_a_locked_project_with_extras_and_groups(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.project("locked", tmp_path)
    uv = REPOSITORY / ".venv" / "bin" / "uv"
    subprocess.run([uv, "lock", "--quiet"], cwd=tmp_path / "locked", check=True)
    build(
        project,
        f"ember.Image.from_registry('{workshop.base}')"
        ".uv_sync('locked', extras=['fast'], groups=['dev'])",
    )
    command = "python3 -c 'import httpx, orjson, toolz; print(httpx.__version__)'"
    assert project.run(command) == [0, "0.27.2\n"]


# --- what is wrong ----------------------------------------------------------------------------


def test_a_broken_dockerfile_says_which_line(workshop: Workshop, tmp_path: Path) -> None:
    project = Project(workshop.server, tmp_path)
    project.write("Dockerfile", f"FROM {workshop.base}\nRUNN echo\n")
    told = project.deploy("ember.Image.from_dockerfile('Dockerfile')", status=2)
    assert "base (dockerfile) failed" in told
    assert "RUNN" in told
    project.write("Dockerfile", f"FROM {workshop.base}\nRUN echo so far; exit 7\n")
    told = project.deploy("ember.Image.from_dockerfile('Dockerfile')", status=2)
    assert "so far" in told
    assert "RUN echo so far; exit 7" in told


def test_a_base_without_python_is_refused_with_what_to_do(
    workshop: Workshop, tmp_path: Path
) -> None:
    project = Project(workshop.server, tmp_path)
    project.write(
        "Dockerfile",
        f"FROM {workshop.base} AS full\nFROM scratch\nCOPY --from=full /etc/passwd /etc/passwd\n",
    )
    told = project.deploy("ember.Image.from_dockerfile('Dockerfile')", status=2)
    assert "it has no Python; add it with add_python" in told

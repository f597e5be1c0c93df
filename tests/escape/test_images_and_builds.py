"""Neither does an image lead out, nor what runs while one is built.

A build step is root in its container: it may do to its own root what it likes (BY_DESIGN), and to
the machine nothing. The controls of test_escape.py prove the same attempts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Server, running_builder, wait_until
from controls import INSIDE
from library import Library, make_library
from oci_layout import entry
from registry import running_registry
from small_image import write_image
from surroundings import Surroundings, surroundings_of
from ways import LIMITS, WAYS, Way, given

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = ("crun", "skopeo", "umoci")
UP = "../" * 12
PLACES = ("dev", "ember", "etc", "proc", "run", "source", "srv/shelf")
SHELF = '{"/srv/shelf": ember.Volume.from_name("shelf", create_if_missing=True)}'

APP = """
from typing import Any

import ember

app = ember.App("led")
image = {image}


@app.function(image=image, memory=256, max_containers=1, volumes={volumes})
def attempt(name: str, given: dict) -> dict[str, Any]:
    import attempts

    return attempts.outcome(name, given)


@app.function(image=image, memory=256, max_containers=1)
def read(path: str) -> str:
    with open(path) as file:
        return file.read()
"""

# What a build is for: files, owners and modes of its own root.
BY_DESIGN = {
    "become_group", "become_user", "bind_low_port", "change_securebits", "drop_groups",
    "give_file_away", "give_file_capabilities", "grow_capabilities", "keep_set_user_id",
    "read_without_mode", "set_capabilities",
}  # fmt: skip
OF_ITS_ROOT = ("/usr", "/etc", "/ember", "/source")

# A Dockerfile is built by a program that makes containers: namespaces and mounts it may have more
# of, within its own.
OF_CONTAINERS = {
    "chroot", "fsopen", "mount", "open_tree", "pivot_root", "remount_writable", "sethostname",
    "setdomainname", "setns", "unmask", "unmount", "unshare",
}  # fmt: skip
CALLS_OF_CONTAINERS = {"fsconfig", "fsmount", "mount_setattr", "move_mount"}


@pytest.fixture(scope="module")
def builder() -> Iterator[Server]:
    with running_builder(*TOOLS) as server:
        yield server


class Project:
    """An app whose image a test chooses, with the attempts beside it."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.directory = directory / "project"
        shutil.copytree(
            INSIDE, self.directory, ignore=shutil.ignore_patterns("__pycache__", "app.py")
        )

    def try_deploy(self, image: str, *, volumes: str = "{}") -> str | None:
        """Nothing, or why it is refused."""
        (self.directory / "led.py").write_text(APP.format(image=image, volumes=volumes))
        done = subprocess.run(
            self.server.command("deploy", "led.py", "--strategy", "recreate"),
            env=self.server.environment,
            cwd=self.directory, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stderr if done.returncode else None

    def deploy(self, image: str) -> None:
        assert (why := self.try_deploy(image)) is None, why

    def ask(self, ways: list[Way], surroundings: Surroundings) -> None:
        """Writes the attempts that a step is to make."""
        asked = [json.dumps([way.attempt, json.dumps(given(way, surroundings))]) for way in ways]
        (self.directory / "asked").write_text("\n".join(asked))

    def outcomes(self, ways: list[Way]) -> dict[str, Any]:
        """What a step wrote of them, by their names."""
        lines = self.server.result("led", "read", path="/outcomes").splitlines()
        return {way.name: json.loads(line) for way, line in zip(ways, lines, strict=True)}


def attempt_or_none(server: Server, name: str, given: dict[str, Any]) -> dict[str, Any] | None:
    """The attempt's outcome; nothing where its container cannot begin."""

    def cannot_begin() -> bool:
        calls = server.json("call", "list", "--app", "led")["calls"]
        return "crun" in server.json("call", "show", calls[0]["call_id"])["reason"]

    arguments = json.dumps({"name": name, "given": given})
    with server.start("call", "led.attempt", "--json-args", arguments) as call:
        wait_until("it ends or cannot begin", lambda: call.poll() is not None or cannot_begin())
        if call.poll() is None:
            call.send_signal(signal.SIGINT)
            return None
        assert call.stdout is not None and call.stderr is not None
        assert call.returncode == 0, call.stderr.read()
        return json.loads(call.stdout.read())


def led_out(outcomes: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in outcomes.items() if one["escaped"] or "broken" in one}


def touches_its_own_root(way: Way) -> bool:
    place = str(way.given.get("path") or way.given.get("directory") or way.given.get("program", ""))
    return way.attempt in BY_DESIGN or place.startswith(OF_ITS_ROOT)


def test_a_build_step_does_not_lead_out(builder: Server, data: Path) -> None:
    project = Project(builder, data)
    base = write_image(data / "image", [])
    ways = [way for way in WAYS if way not in LIMITS and not touches_its_own_root(way)]
    with surroundings_of(builder, data) as surroundings:
        project.ask(ways, surroundings)
        project.deploy(
            f"""ember.Image.from_registry({base!r}).add_local_dir(".", "/attempts").run_commands(
                "/usr/bin/python3 /attempts/attempts.py < /attempts/asked > /outcomes")"""
        )
    outcomes = project.outcomes(ways)
    assert led_out(outcomes) == {}


def test_a_dockerfile_s_step_does_not_lead_out(builder: Server, data: Path) -> None:
    if missing := [tool for tool in ("buildah", "docker-registry") if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    project = Project(builder, data)
    ways = [way for way in WAYS if way not in LIMITS and not touches_its_own_root(way)]
    with surroundings_of(builder, data) as surroundings, running_registry() as registry:
        base = f"{registry}/small:made"
        subprocess.run(
            ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", write_image(data / "image", []),
             f"docker://{base}"], check=True,
        )  # fmt: skip
        project.ask(ways, surroundings)
        (project.directory / "Dockerfile").write_text(
            f"FROM {base}\nCOPY . /attempts\n"
            "RUN /usr/bin/python3 /attempts/attempts.py < /attempts/asked > /outcomes\n"
        )
        project.deploy('ember.Image.from_dockerfile("Dockerfile")')
    outcomes = project.outcomes(ways)
    of_containers = {
        way.name
        for way in ways
        if way.attempt in OF_CONTAINERS or way.given.get("call") in CALLS_OF_CONTAINERS
    }
    assert {n: o for n, o in led_out(outcomes).items() if n not in of_containers} == {}


# --- what an image brings ---


@pytest.fixture
def library(data: Path) -> Library:
    (data / "library").mkdir()
    return make_library(data / "library" / "library.so", data / "notes")


def test_an_image_s_environment_reaches_no_program_of_the_machine(
    builder: Server, data: Path, library: Library
) -> None:
    """CVE-2025-23266: the library lies at the same path outside, and every step has it named.

    That it is loaded by who takes such an environment along is proved in test_escape.py.
    """
    variables = {"LD_PRELOAD": str(library.path)}
    base = write_image(
        data / "image",
        [entry(str(library.path).lstrip("/"), library.path.read_bytes(), mode=0o755)],
        {"Env": [f"LD_PRELOAD={library.path}"]},
    )
    project = Project(builder, data)
    project.deploy(
        f"""ember.Image.from_registry({base!r}).env({variables}).run_commands(
            "cat /proc/self/maps > /in-build").env({variables})"""
    )
    for maps in ("/in-build", "/proc/self/maps"):
        assert str(library.path) in builder.result("led", "read", path=maps), "the test is wrong"
    assert library.loaded_by() == []


def test_a_program_of_an_image_gives_no_rights(builder: Server, data: Path) -> None:
    """Whether its mode asks for them or its metadata does."""
    project = Project(builder, data)
    program = Path("/usr/bin/cat").read_bytes()
    rights = struct.pack("<5I", 0x02000001, 0x7F7F7F7F, 0, 0, 0)  # most, and effective
    pax = {"SCHILY.xattr.security.capability": rights.decode()}
    base = write_image(
        data / "image",
        [
            entry("opt/of-root", program, mode=0o6755),
            entry("opt/of-rights", program, mode=0o755, pax_headers=pax),
        ],
    )
    project.deploy(f"ember.Image.from_registry({base!r})")
    for name in ("of-root", "of-rights"):
        given = {"program": f"/opt/{name}"}
        outcome = builder.result("led", "attempt", name="run_setuid_program", given=given)
        assert outcome == {"escaped": False, "how": "it runs without capabilities"}


@pytest.mark.parametrize("descriptor", range(3, 7))
def test_an_image_s_working_directory_is_no_descriptor_of_the_machine_s(
    builder: Server, data: Path, descriptor: int
) -> None:
    """CVE-2024-21626: where what makes the container has a directory open as it enters this one."""
    marker = data / "marker"
    marker.write_text("reached")
    base = write_image(data / "image", [], {"WorkingDir": f"/proc/self/fd/{descriptor}"})
    project = Project(builder, data)
    project.deploy(f"ember.Image.from_registry({base!r})")
    said = attempt_or_none(builder, "leave_by_working_directory", {"marker": str(marker)})
    assert said is None or not said["escaped"], said


# --- links that an image brings ---


@pytest.fixture
def outside(data: Path) -> Path:
    """A directory of the machine's that everybody may write to, with a file that tells it."""
    path = data / "outside"
    path.mkdir()
    path.chmod(0o777)
    return path


def link_to(outside: Path, outwards: str) -> str:
    return str(outside) if outwards == "absolute" else UP + str(outside).lstrip("/")


@pytest.mark.parametrize("outwards", ["absolute", "relative"])
@pytest.mark.parametrize("place", PLACES)
def test_a_link_where_something_is_mounted_leads_nothing_out(
    builder: Server, data: Path, outside: Path, place: str, outwards: str
) -> None:
    link = entry(place, type=tarfile.SYMTYPE, linkname=link_to(outside, outwards), mode=0o777)
    project = Project(builder, data)
    base = f"ember.Image.from_registry({write_image(data / 'image', [link])!r})"
    # The mounts are there or it does not start: no walls are lost by their being elsewhere.
    if project.try_deploy(base, volumes=SHELF) is None:
        for name, given in (
            ("read", {"path": "/proc/interrupts"}),
            ("open_to_write", {"path": "/proc/sys/kernel/core_pattern"}),
            ("open_to_write", {"path": "/proc/sys/vm/panic_on_oom"}),
            ("create_in", {"directory": "/ember/run"}),
        ):
            if (said := attempt_or_none(builder, name, given)) is None:
                break
            assert not said["escaped"], said
    assert os.listdir(outside) == []


@pytest.mark.parametrize("outwards", ["absolute", "relative"])
def test_such_a_link_leads_out_whoever_follows_it(data: Path, outside: Path, outwards: str) -> None:
    root = data / "root"
    root.mkdir()
    (root / "proc").symlink_to(link_to(outside, outwards))
    (root / "proc" / "made").mkdir()
    assert os.listdir(outside) == ["made"]

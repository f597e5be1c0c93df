"""Images: each base and step, built for real and seen by a function in a container."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from conftest import APPS, Server, kill, processes_of, running_builder, running_server, wait_until
from image_project import Project
from registry import running_registry
from small_image import write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOOLS = ("crun", "mmdebstrap", "skopeo", "umoci", "docker-registry")


@pytest.fixture(scope="module")
def builder() -> Iterator[Server]:
    """A server of this module's, whose images stay while it runs."""
    with running_builder(*TOOLS) as server:
        yield server


@pytest.fixture
def project(builder: Server, tmp_path: Path) -> Project:
    return Project(builder, tmp_path)


def test_debian_slim_has_its_own_root_and_debian_s_python(project: Project) -> None:
    project.deploy("ember.Image.debian_slim()")
    seen = project.look("/etc/os-release", "/usr/share/doc/bash/copyright")
    assert seen["python"] == "/usr/bin/python3"
    assert "Debian" in seen["texts"]["/etc/os-release"]
    assert seen["texts"]["/usr/share/doc/bash/copyright"] == "No such file or directory"
    assert seen["user"] == [0, 0]
    status, output = project.run("touch /etc/mine /root/mine && ls -ln /etc/passwd && df /")
    assert status == 0, output
    assert " 0 0 " in output, "the image's files are root's, as seen in there"


def test_what_one_container_writes_to_its_root_no_other_sees(project: Project) -> None:
    project.deploy("ember.Image.debian_slim()")
    assert project.run("echo x > /etc/only-here; cat /etc/only-here")[1] == "x\n"
    project.deploy("ember.Image.debian_slim().env({'ROUND': '2'})")
    assert project.look("/etc/only-here")["texts"]["/etc/only-here"] == "No such file or directory"


def test_apt_install_run_commands_env_and_workdir(project: Project) -> None:
    project.deploy(
        """ember.Image.debian_slim()
        .apt_install("cowsay")
        .env({"GREETING": "a 'quoted' word"})
        .workdir("/work/here")
        .run_commands('echo "$GREETING" > said', "pwd >> said; id -u >> said")"""
    )
    seen = project.look("/work/here/said")
    assert seen["texts"]["/work/here/said"] == "a 'quoted' word\n/work/here\n0\n"
    assert seen["directory"] == "/work/here"
    assert seen["env"]["GREETING"] == "a 'quoted' word"
    assert "< moo >" in project.run("/usr/games/cowsay moo")[1]


def test_pip_and_uv_packages_are_imported_together(project: Project) -> None:
    project.deploy(
        'ember.Image.debian_slim().pip_install("six==1.16.0").uv_pip_install("toolz==0.12.1")'
    )
    status, output = project.run(
        "python3 -c 'import six, toolz; print(six.__version__, toolz.__version__, six.__file__)'"
    )
    assert (status, output.split()[:2]) == (0, ["1.16.0", "0.12.1"]), output
    assert "dist-packages" in output


def test_requirements_bring_the_files_that_they_include(project: Project) -> None:
    project.write("requirements.txt", "-r more/base.txt  # first\n\nsix==1.16.0\n")
    project.write("more/base.txt", "toolz==0.12.1\n")
    project.deploy('ember.Image.debian_slim().pip_install_from_requirements("requirements.txt")')
    assert project.run("python3 -c 'import six, toolz'") == [0, ""]


def test_requirements_over_the_machine_s_own_usr_become_a_layer(project: Project) -> None:
    project.write("requirements.txt", "six==1.16.0\n")
    project.deploy('ember.Image.host().pip_install_from_requirements("requirements.txt")')
    assert "/ember/layers/0" in project.run("python3 -c 'import six; print(six.__file__)'")[1]


def test_uv_sync_installs_what_the_lock_names(project: Project) -> None:
    project.write(
        "project/pyproject.toml",
        '[project]\nname = "thing"\nversion = "1"\nrequires-python = ">=3.9"\n'
        'dependencies = ["six==1.16.0"]\n[dependency-groups]\nextra = ["toolz==0.12.1"]\n',
    )
    uv = shutil.which("uv") or str(APPS.parents[2] / ".venv" / "bin" / "uv")
    locked = subprocess.run(
        [uv, "lock", "--quiet"], cwd=project.directory / "project", capture_output=True, check=False
    )
    assert locked.returncode == 0, locked.stderr
    project.deploy('ember.Image.debian_slim().uv_sync("project", groups=["extra"])')
    assert project.run("python3 -c 'import six, toolz'") == [0, ""]


def test_run_function_leaves_what_it_wrote(project: Project) -> None:
    project.write(
        "fetches.py",
        "import pathlib\n\n\ndef fetch() -> None:\n"
        "    pathlib.Path('/models').mkdir()\n"
        "    pathlib.Path('/models/weights').write_text('42')\n"
        "    print('fetched')\n",
    )
    project.choose("ember.Image.host().run_function(fetches.fetch)")
    path = project.directory / "images_to_try.py"
    path.write_text("import fetches\n" + path.read_text())
    told = project.server.cli(
        "deploy", "imaged.py", "--strategy", "recreate", cwd=project.directory
    ).stderr
    assert "fetched" in told
    assert project.look("/models/weights")["texts"]["/models/weights"] == "42"


def test_local_files_directories_and_modules_are_added(project: Project) -> None:
    project.write("one.txt", "one")
    project.write("tree/a.txt", "a")
    project.write("tree/deep/run.sh", "#!/bin/sh\necho ran\n", 0o755)
    project.write("tree/left.log", "left")
    project.write("mine/__init__.py", "X = 3\n")
    project.deploy(
        """ember.Image.debian_slim()
        .add_local_file("one.txt", "/data/renamed.txt")
        .add_local_file("one.txt", "/data/")
        .add_local_dir("tree", "/opt/tree", ignore=["*.log"])
        .add_local_python_source("mine")"""
    )
    seen = project.look("/data/renamed.txt", "/data/one.txt", "/opt/tree/a.txt")["texts"]
    assert set(seen.values()) == {"one", "a"}
    assert project.run("/opt/tree/deep/run.sh; ls /opt/tree; cd /; python3 -c 'import mine'") == [
        0,
        "ran\na.txt\ndeep\n",
    ]


def test_an_entrypoint_runs_before_the_function_and_ends_with_its_arguments(
    project: Project,
) -> None:
    project.write("start.sh", '#!/bin/sh\nexport STARTED=yes\nexec "$@"\n', 0o755)
    project.deploy(
        """ember.Image.debian_slim().add_local_file("start.sh", "/start.sh")
        .entrypoint(["/start.sh"])"""
    )
    assert project.look()["env"]["STARTED"] == "yes"


def test_imports_of_what_only_the_image_has_are_let_pass_here(project: Project) -> None:
    project.choose('IMAGE = ember.Image.debian_slim().pip_install("six==1.16.0")')
    (project.directory / "images_to_try.py").write_text(
        'import ember\n\nIMAGE = ember.Image.debian_slim().pip_install("six==1.16.0")\n'
        "with IMAGE.imports():\n    import six\n    import nowhere_else\n\n\n"
        "def chosen() -> ember.Image:\n    return IMAGE\n"
    )
    project.server.cli("deploy", "imaged.py", "--strategy", "recreate", cwd=project.directory)
    answer = project.server.call("imaged", "look", paths=[])
    assert answer.status == 500
    assert "nowhere_else" in str(answer.document), "there it is told"


# --- building ---------------------------------------------------------------------------------


def test_a_second_build_finds_every_layer_and_a_changed_step_rebuilds_from_there(
    project: Project,
) -> None:
    first = 'ember.Image.debian_slim().run_commands("echo 1 > /a").run_commands("echo 2 > /b")'
    assert "step 2 (run_commands" in project.deploy(first)
    began = time.monotonic()
    assert "step" not in project.deploy(first)
    print(f"a second build with nothing changed: {(time.monotonic() - began) * 1000:.0f} ms")
    told = project.deploy(first.replace("echo 2", "echo 3"))
    assert "step 1" not in told
    assert "step 2 (run_commands echo 3 > /b) took" in told


def test_a_step_that_fails_is_named_with_its_last_lines_and_what_to_do(project: Project) -> None:
    told = project.deploy(
        'ember.Image.debian_slim().apt_install("no-such-package-of-ember")', status=2
    )
    assert "step 1 (apt_install no-such-package-of-ember) failed" in told
    assert "Unable to locate package" in told
    assert "Check the package's name" in told
    told = project.deploy('ember.Image.debian_slim().run_commands("echo before; exit 3")', status=2)
    assert "step 1 (run_commands echo before; exit 3) failed\n  $ echo before" in told


def test_two_builds_of_one_image_at_once_are_one(builder: Server, tmp_path: Path) -> None:
    spec = {
        "base": {"kind": "debian_slim", "arguments": []},
        "steps": [
            {"kind": "run_commands", "arguments": [f"echo {tmp_path} > /x", "date +%N > /once"]}
        ],
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    script = (
        "import json, sys, ember._client as c\n"
        f"spec = json.load(open({str(tmp_path / 'spec.json')!r}))\n"
        "print(json.dumps(list(c.shared().stream_ndjson('/api/v1/images', method='POST',"
        " body=spec))))"
    )
    builds = [
        subprocess.Popen(
            [builder.command()[0], "-c", script],
            env=builder.environment, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    told = [json.loads(build.communicate(timeout=120)[0]) for build in builds]
    assert all(lines[-1]["ready"] for lines in told)
    image = told[0][-1]["image_id"]
    log = builder.json("image", "logs", image)["log"]
    assert log.count("$ date +%N > /once") == 1


def test_ctrl_c_leaves_no_half_layer(project: Project) -> None:
    project.choose('ember.Image.debian_slim().run_commands("sleep 1; echo whole > /whole")')
    with project.server.start("image", "build", project.directory / "images_to_try.py") as build:
        build.send_signal(signal.SIGINT)
        build.wait(20)
    project.deploy('ember.Image.debian_slim().run_commands("sleep 1; echo whole > /whole")')
    assert project.look("/whole")["texts"]["/whole"] == "whole\n"


def test_a_build_runs_without_capabilities_of_the_machine_and_sees_none_of_it(
    project: Project,
) -> None:
    project.deploy(
        """ember.Image.debian_slim().run_commands(
            "cat /proc/self/uid_map | tr -s ' ' > /map",
            "ls -A /ember/tools /ember/files > /seen",
            "(mount -t tmpfs x /mnt || echo no mount) 2> /dev/null > /mount",
            "(cat < /dev/tcp/127.0.0.1/22) 2>/dev/null || echo no machine > /machine",
            "id -u > /user")"""
    )
    seen = project.look("/map", "/mount", "/machine", "/user")["texts"]
    assert seen["/map"].split()[0] == "0"
    assert int(seen["/map"].split()[1]) >= 0x70000000, "the machine's root is another"
    assert (seen["/mount"], seen["/machine"], seen["/user"]) == (
        "no mount\n",
        "no machine\n",
        "0\n",
    )


def test_a_node_that_is_killed_in_a_build_leaves_nothing_of_it() -> None:
    program = f"sleep {3000 + os.getpid()}"
    spec = {"base": "host", "steps": [{"kind": "run_commands", "arguments": [program]}]}
    script = (
        "import ember._client as c\n"
        "for line in c.shared().stream_ndjson('/api/v1/images', method='POST',"
        f" body={spec!r}):\n    print(line, flush=True)"
    )
    with running_server() as server:
        build = subprocess.Popen(
            [server.command()[0], "-c", script], env=server.environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_until("the step", lambda: _running(program))
            kill(server, "node")
            server.up()
            wait_until("its end", lambda: not _running(program))
            build.wait(30)
            assert list((server.data / "node" / "layers").iterdir()) == []
        finally:
            build.kill()
            build.wait()


def _running(program: str) -> bool:
    wanted = program.replace(" ", "\0").encode() + b"\0"
    for path in os.listdir("/proc"):
        if path.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{path}/cmdline", "rb") as file:
                if file.read() == wanted:
                    return True
    return False


# --- registries and archives ------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with running_registry() as address:
        yield address


@pytest.fixture(scope="module")
def pushed(builder: Server, registry: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """debian_slim with a step over it, pushed to the registry."""
    project = Project(builder, tmp_path_factory.mktemp("pushed"))
    project.deploy(
        """ember.Image.debian_slim().env({"FROM_BASE": "yes"}).workdir("/base")
        .run_commands("echo base > /base/file; rm /etc/issue")"""
    )
    listed = builder.json("image", "list")["images"]
    image = next(one for one in listed if "imaged.look" in one["used_by"])
    reference = f"{registry}/team/base:1"
    builder.cli("image", "push", image["image_id"], reference)
    return reference


def test_an_image_that_was_pushed_comes_back_from_the_registry(
    project: Project, pushed: str
) -> None:
    project.deploy(f'ember.Image.from_registry("{pushed}").run_commands("echo over > /over")')
    seen = project.look("/base/file", "/over", "/etc/issue")
    assert list(seen["texts"].values()) == ["base\n", "over\n", "No such file or directory"]
    assert seen["directory"] == "/base"
    assert seen["env"]["FROM_BASE"] == "yes"


def test_local_layouts_and_archives_are_bases_too(
    project: Project, pushed: str, data: Path
) -> None:
    for kind, place in (("oci", f"{data}/layout:1"), ("docker-archive", f"{data}/image.tar")):
        copy = ["skopeo", "copy", "--src-tls-verify=false", f"docker://{pushed}", f"{kind}:{place}"]
        subprocess.run(copy, check=True, capture_output=True)
        subprocess.run(["chmod", "-R", "a+rX", data], check=True)
        project.deploy(f'ember.Image.from_registry("{kind}:{place}")')
        assert project.look("/base/file")["texts"]["/base/file"] == "base\n"


def test_a_registry_that_asks_is_told_who_comes(
    project: Project, builder: Server, pushed: str
) -> None:
    project.deploy(f'ember.Image.from_registry("{pushed}")')
    listed = builder.json("image", "list")["images"]
    image = next(one for one in listed if "imaged.look" in one["used_by"])["image_id"]
    values = ("REGISTRY_USERNAME=ada", "REGISTRY_PASSWORD=l0velace")
    with running_registry("ada", "l0velace") as address:
        reference = f"{address}/team/closed:1"
        told = builder.cli("image", "push", image, reference, status=2).stderr
        assert "REGISTRY_USERNAME" in told, "it does not say what to do"
        builder.cli("secret", "create", "registry", *values)
        builder.cli("image", "push", image, reference, "--auth", "registry")
        told = project.deploy(f'ember.Image.from_registry("{reference}")', status=2)
        assert "REGISTRY_USERNAME" in told
        auth = 'auth=ember.Secret.from_name("registry")'
        project.deploy(f'ember.Image.from_registry("{reference}", {auth})')
        assert project.text("/base/file") == "base\n"


def test_a_registry_s_secret_must_have_its_keys(project: Project, builder: Server) -> None:
    builder.cli("secret", "create", "half", "REGISTRY_USERNAME=ada")
    auth = 'auth=ember.Secret.from_name("half")'
    told = project.deploy(f'ember.Image.from_registry("127.0.0.1:9/a/b:1", {auth})', status=2)
    assert "REGISTRY_PASSWORD" in told


def test_an_image_that_is_not_there_is_told(project: Project, registry: str) -> None:
    told = project.deploy(f'ember.Image.from_registry("{registry}/no/such:1")', status=2)
    assert "base (registry" in told
    assert "manifest unknown" in told


# --- keeping and pruning ----------------------------------------------------------------------


def test_what_the_loader_says_of_an_image_s_environment_hides_no_python(
    project: Project, data: Path
) -> None:
    config: dict[str, object] = {"Env": ["LD_PRELOAD=/opt/is-not-here.so"]}
    base = write_image(data / "image", [], config)
    project.deploy(f"ember.Image.from_registry({base!r})")
    assert project.look()["env"]["LD_PRELOAD"] == "/opt/is-not-here.so"


def test_prune_removes_what_no_app_uses_and_nothing_else(project: Project) -> None:
    project.deploy('ember.Image.debian_slim().run_commands("echo unused > /unused")')
    project.deploy('ember.Image.debian_slim().run_commands("echo used > /used")')
    assert project.look("/used")["texts"]["/used"] == "used\n"
    pruned = project.server.json("image", "prune")
    assert pruned["freed_bytes"] > 0
    left = project.server.json("image", "list")["images"]
    assert all(image["used_by"] for image in left)
    assert project.look("/used")["texts"]["/used"] == "used\n"
    told = project.deploy('ember.Image.debian_slim().run_commands("echo unused > /unused")')
    assert "echo unused > /unused) took" in told, "it is built again"


def test_nothing_of_the_builds_runs_on(builder: Server) -> None:
    # rm: what the test before has pruned may still be going.
    expected = {"emberd", "tini-static", "init", "python3", "slirp4netns", "rm"}
    running: set[str] = set()

    def have_ended() -> bool:
        running.clear()
        running.update(os.path.basename(one.program) for one in processes_of(builder.data))
        return running <= expected

    try:
        wait_until("the end of what builds ran", have_ended)
    except AssertionError as error:
        raise AssertionError(f"{error}: {running - expected}") from None

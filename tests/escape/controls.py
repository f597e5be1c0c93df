"""Containers that lack some of what keeps them in, to prove that an attempt would get out.

A control runs the attempt's own code under `crun`, from the config.json that Ember wrote for its
container, less what the attempt's row takes away. It has a root, a source and a network namespace
of its own, so that nothing it reaches is another's.
"""

from __future__ import annotations

import copy
import ctypes
import json
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

INSIDE = Path(__file__).resolve().parent / "inside"
_LEFT = 3  # a descriptor of the machine's root, which a control may be left with
_SYSTEMS = Path("/sys/fs/cgroup")
_TIMEOUT_S = 60.0

# As the node does, for crun: a v2 hierarchy beside v1 ones is hidden from it.
_RUN = """
set -e
if [ -e /sys/fs/cgroup/unified ] && [ -e /sys/fs/cgroup/memory ]; then
  mount -t tmpfs ember /sys/fs/cgroup/unified
fi
exec 3</
exec "$@"
"""


@dataclass
class Launch:
    """What a control will be started from."""

    config: dict[str, Any]
    root: Path
    options: list[str]
    preload: str = ""
    output: Path | None = None  # a file for what it writes, in place of a pipe

    @property
    def linux(self) -> dict[str, Any]:
        return self.config["linux"]

    @property
    def resources(self) -> dict[str, Any]:
        return self.linux.setdefault("resources", {})

    def mount(self, destination: str) -> dict[str, Any]:
        return next(one for one in self.config["mounts"] if one["destination"] == destination)

    def leave_namespace(self, kind: str) -> None:
        self.linux["namespaces"] = [
            one for one in self.linux["namespaces"] if one["type"] != kind
        ]  # fmt: skip


@dataclass(frozen=True)
class Removal:
    """One mitigation taken away."""

    name: str
    apply: Callable[[Launch], object]
    capabilities: tuple[str, ...] = ()


def capabilities(*names: str) -> Removal:
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    words = ", ".join(names).lower()

    def apply(launch: Launch) -> None:
        launch.config["process"]["capabilities"] = {kind: list(names) for kind in kinds}

    return Removal(f"no capabilities ({words})", apply, names)


def in_namespace(kind: str, name: str) -> Removal:
    return Removal(f"{name} of its own", lambda launch: launch.leave_namespace(kind))


def shows(path: str | Path) -> Removal:
    """A directory of the machine's, bound where it is on the machine."""

    def apply(launch: Launch) -> None:
        (launch.root / str(path).lstrip("/")).mkdir(parents=True, exist_ok=True)
        launch.config["mounts"].append(
            {"destination": str(path), "source": str(path), "type": "bind", "options": ["rbind"]}
        )

    return Removal(f"a root without {path}", apply)


def writable(destination: str) -> Removal:
    def apply(launch: Launch) -> None:
        options = launch.mount(destination)["options"]
        options[:] = [one for one in options if one not in ("ro", "rro")]

    return Removal(f"read-only {destination}", apply)


def without_option(option: str, destination: str) -> Removal:
    def apply(launch: Launch) -> None:
        options = launch.mount(destination)["options"]
        options[:] = [one for one in options if one not in (option, f"r{option}")]

    return Removal(f"{option} on {destination}", apply)


def unsized(destination: str) -> Removal:
    def apply(launch: Launch) -> None:
        options = launch.mount(destination)["options"]
        options[:] = [one for one in options if not one.startswith("size=")]

    return Removal(f"a size of {destination}", apply)


def unlimited(limit: str) -> Removal:
    return Removal(f"{limit} limit", lambda launch: launch.resources.pop(limit, None))


def device(path: str) -> Removal:
    """The null device, under the name of one that is not granted."""

    def apply(launch: Launch) -> None:
        node = {"type": "c", "major": 1, "minor": 3}
        launch.linux["devices"].append({"path": path, "fileMode": 0o666, **node})

    return Removal(f"no node {path}", apply)


def _own_users(launch: Launch) -> None:
    launch.leave_namespace("user")
    for mappings in ("uidMappings", "gidMappings"):
        del launch.linux[mappings]


def _ordinary_user(launch: Launch) -> None:
    launch.config["process"]["user"] = {"uid": 1000, "gid": 1000}


def _machine_names(launch: Launch) -> None:
    launch.leave_namespace("uts")
    del launch.config["hostname"]


def _all_devices(launch: Launch) -> None:
    launch.resources["devices"] = [{"allow": True, "access": "rwm"}]


def _machine_mounts(launch: Launch) -> None:
    launch.leave_namespace("mount")


def _own_cgroup(launch: Launch) -> None:
    cgroup = _SYSTEMS / "memory"
    source = cgroup if cgroup.exists() else _SYSTEMS
    launch.config["mounts"].append(
        {"destination": "/run", "source": str(source), "type": "bind", "options": ["bind"]}
    )


def _left_directory(launch: Launch) -> None:
    launch.options += ["--preserve-fds", "1"]


def _left_working_directory(launch: Launch) -> None:
    launch.options += ["--preserve-fds", "1"]
    launch.config["process"]["cwd"] = f"/proc/self/fd/{_LEFT}"


def _output_file(launch: Launch) -> None:
    launch.output = launch.root.parent / "output"


SECCOMP = Removal(
    "seccomp", lambda launch: launch.config["annotations"].pop("run.oci.seccomp_bpf_data")
)
USERS = Removal("users of its own", _own_users)
PROCESSES = in_namespace("pid", "processes")
NETWORK = in_namespace("network", "a network")
IPC = in_namespace("ipc", "shared memory")
CGROUPS = in_namespace("cgroup", "a view of cgroups")
NAMES = Removal("names of its own", _machine_names)
MASKS = Removal("masked paths", lambda launch: launch.linux.update(maskedPaths=[]))
READ_ONLY_PROC = Removal(
    "read-only /proc/sys", lambda launch: launch.linux.update(readonlyPaths=[])
)
READ_ONLY_ROOT = Removal(
    "a read-only root", lambda launch: launch.config["root"].update(readonly=False)
)
NO_NEW_PRIVILEGES = Removal(
    "no_new_privileges", lambda launch: launch.config["process"].update(noNewPrivileges=False)
)
NOT_ANY_USER = Removal("root without rights, not a user who may gain them", _ordinary_user)
DEVICE_RULES = Removal("cgroup rules for devices", _all_devices)
MOUNTS = Removal("mounts of its own", _machine_mounts)
NO_CGROUP_FILES = Removal("no cgroup files in sight", _own_cgroup)
OUTPUT_PIPE = Removal("output through a pipe", _output_file)
CLOSED_DIRECTORIES = Removal("closed descriptors", _left_directory)
OWN_DIRECTORY = Removal("a working directory inside", _left_working_directory)


def missing_capability(removals: tuple[Removal, ...]) -> str | None:
    """The first that this machine's root lacks, so that it cannot be given away either."""
    for name in (name for removal in removals for name in removal.capabilities):
        number = _CAPABILITIES.index(name)
        if ctypes.CDLL(None).prctl(23, number, 0, 0, 0) != 1:  # PR_CAPBSET_READ
            return name
    return None


class Controls:
    """Runs attempts in containers made from the configuration of one of Ember's."""

    def __init__(self, config: dict[str, Any], run_directory: Path, here: Path) -> None:
        self._config = config
        self._here = here
        self._root = here / "rootfs"
        shutil.copytree(self._rootfs(run_directory), self._root, symlinks=True)
        shutil.copytree(INSIDE, here / "source", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(run_directory, here / "run", ignore=shutil.ignore_patterns("*.sock"))

    @staticmethod
    def _rootfs(run_directory: Path) -> Path:
        """Every container on the machine's own /usr has the same; another tree is for images."""
        trees = (run_directory.parents[2] / "rootfs").iterdir()
        (root,) = (tree for tree in trees if (tree / "usr").is_dir())
        return root

    def run(
        self, name: str, given: dict[str, Any], removals: tuple[Removal, ...]
    ) -> dict[str, Any]:
        """The attempt's outcome in a container without these."""
        launch = self.launch(name, given)
        for removal in removals:
            removal.apply(launch)
        return json.loads(self.start(launch))

    def launch(self, name: str, given: dict[str, Any]) -> Launch:
        """A container as Ember would start it, that makes the attempt."""
        launch = Launch(copy.deepcopy(self._config), self._root, [])
        self._make_own(launch, name, given)
        return launch

    def start(self, launch: Launch) -> str:
        """Runs a container to its end; what it wrote."""
        container = f"control-{uuid.uuid4().hex[:12]}"
        bundle = self._here / container
        bundle.mkdir()
        manager = "disabled"
        if (path := launch.linux.get("cgroupsPath")) is not None:
            launch.linux["cgroupsPath"] = f"{Path(path).parent}/{container}"
            manager = "cgroupfs"
        (bundle / "config.json").write_text(json.dumps(launch.config))
        command = [
            "crun",
            "--root",
            str(self._here / "crun"),
            "--cgroup-manager",
            manager,
            "run",
        ]
        command += [*launch.options, "--bundle", str(bundle), container]
        if launch.preload:
            command = ["env", f"LD_PRELOAD={launch.preload}", *command]
        # Input from a pipe: crun gives it to the container's user, and /dev/null is the machine's.
        if launch.output is not None:
            command = ["sh", "-c", f'exec "$@" >> {launch.output}', "output", *command]
        try:
            done = subprocess.run(
                ["unshare", "--mount", "sh", "-c", _RUN, "control", *command],
                input="", capture_output=True, text=True, timeout=_TIMEOUT_S,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            subprocess.run(
                ["unshare", "--mount", "sh", "-c", _RUN, "control", "crun", "--root",
                 str(self._here / "crun"), "delete", "--force", container],
            )  # fmt: skip
            raise
        finally:
            shutil.rmtree(bundle)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout if launch.output is None else launch.output.read_text()

    def _make_own(self, launch: Launch, name: str, given: dict[str, Any]) -> None:
        process = launch.config["process"]
        process["args"][-3:] = ["/usr/bin/python3", "/source/attempts.py", name, json.dumps(given)]
        launch.config["root"]["path"] = str(self._root)
        own = {
            "/source": self._here / "source",
            "/ember/run": self._here / "run",
            "/etc/ssl": Path("/etc/ssl"),
        }
        launch.config["mounts"] = [
            one for one in launch.config["mounts"]
            if not one["source"].startswith("/mnt/") or one["destination"] in own
        ]  # fmt: skip
        for mount in launch.config["mounts"]:
            if mount["destination"] in own:
                mount["source"] = str(own[mount["destination"]])
        launch.leave_namespace("network")
        launch.linux["namespaces"].append({"type": "network"})


_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
    "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip

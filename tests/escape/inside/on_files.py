"""Files and programs of the machine, and what the container itself lies in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from _system import Refused


def read(path: str) -> str:
    with open(path, "rb") as file:
        if not file.read(1):
            raise Refused("empty")
    return path


def open_to_read(path: str) -> str:
    """Opened, and nothing taken out of it."""
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    return path


def list_directory(path: str) -> str:
    names = os.listdir(path)
    if not names:
        raise Refused("empty")
    return f"{len(names)} names in {path}"


def open_to_write(path: str) -> str:
    """Opened, and left as it is."""
    os.close(os.open(path, os.O_WRONLY))
    return path


def create_in(directory: str) -> str:
    path = f"{directory}/escape"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.unlink(path)
    return path


def change_owner(path: str) -> str:
    """To whom it belongs already."""
    status = os.stat(path)
    os.chown(path, status.st_uid, status.st_gid)
    return path


def replace_by_link(path: str, target: str) -> str:
    """What the node made for the container to use, led elsewhere."""
    os.symlink(target, f"{path}.escape")
    os.rename(f"{path}.escape", path)
    return os.readlink(path)


def overwrite_running_program(program: str) -> str:
    """A program's own file, held while it runs and opened for writing when it has ended."""
    process = subprocess.Popen([program], stdin=subprocess.PIPE)
    held = os.open(f"/proc/{process.pid}/exe", os.O_PATH)
    process.communicate()
    os.close(os.open(f"/proc/self/fd/{held}", os.O_WRONLY))
    return program


def write_score(path: str) -> str:
    """A process that is killed after all others when memory is short."""
    with open(path, "w") as file:
        file.write("-1000")
    return "out of the kernel's sight when memory is short"


def leave_by_root_of_another(marker: str) -> str:
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            return Path(f"/proc/{process}/root{marker}").read_text()
        except OSError:
            continue
    raise Refused("no process has another root")


def leave_by_descriptor(marker: str) -> str:
    """A directory of the machine's that the container was left with."""
    for held in (*os.listdir("/proc/self/fd"), *os.listdir("/proc/1/fd")):
        for process in ("self", "1"):
            try:
                return Path(f"/proc/{process}/fd/{held}/{'../' * 20}{marker}").read_text()
            except OSError:
                continue
    raise Refused("no descriptor leads out")


def leave_by_working_directory(marker: str) -> str:
    for process in ("self", "1"):
        try:
            return Path(f"/proc/{process}/cwd/{'../' * 20}{marker}").read_text()
        except OSError:
            continue
    raise Refused("the working directory does not lead out")


def keep_descriptors() -> str:
    """Of its first process: input, output, errors, and no more."""
    more = [one for one in os.listdir("/proc/1/fd") if int(one) > 2]
    if not more:
        raise Refused("it has its three")
    return ", ".join(os.readlink(f"/proc/1/fd/{one}") for one in more)


def find_own_cgroup() -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if (path := line.strip().split(":", 2)[2]) != "/":
            return path
    raise Refused("it stands at the root of all it sees")


def raise_own_limit() -> str:
    """By a cgroup file anywhere in sight."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind = line.split()[:3]
        for name in ("memory.limit_in_bytes", "memory.max"):
            if kind.startswith("cgroup") and os.path.exists(f"{place}/{name}"):
                os.close(os.open(f"{place}/{name}", os.O_WRONLY))
                return f"{place}/{name}"
    raise Refused("no cgroups in sight")


def run_program_in(directory: str) -> str:
    path = f"{directory}/program"
    shutil.copy("/usr/bin/true", path)
    subprocess.run([path], check=True)
    return path


def run_setuid_program(program: str) -> str:
    """Its rights while it waits for a password."""
    process = subprocess.Popen(
        [program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.kill()
        process.communicate()
    found = re.search("CapEff:\t(.*)", status)
    if found is None or int(found[1], 16) == 0:
        raise Refused("it runs without capabilities")
    return f"capabilities {found[1]}"


def map_low_addresses() -> str:
    """What a null pointer of the kernel's would hit."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    if library.mmap(0, 4096, 3, 0x32, -1, 0) is not None:
        raise OSError(ctypes.get_errno(), "mmap")
    return "memory at a null pointer's place"

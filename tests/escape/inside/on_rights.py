"""What root may do that has capabilities: each of Docker's, and those that touch the whole machine."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
import socket
import stat
import struct

from _system import Refused, call

_OTHER = 1  # a user and a group that are not root
_library = ctypes.CDLL(None, use_errno=True)


def _of_our_own(mode: int = 0o644) -> str:
    path = "/tmp/own"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # may be closed to us
    with open(path, "xb") as file:
        file.write(b"own")
    os.chmod(path, mode)
    return path


def give_file_away() -> str:
    os.chown(_of_our_own(), _OTHER, _OTHER)
    return "a file of another user"


def read_without_mode() -> str:
    with open(_of_our_own(0)) as file:
        return file.read()


def keep_set_user_id() -> str:
    """Of a program that is written to."""
    path = _of_our_own(0o4755)
    with open(path, "ab") as file:
        file.write(b"more")
    if not os.stat(path).st_mode & stat.S_ISUID:
        raise Refused("the bit has gone")
    return "a program that was changed, and still runs as its owner"


def change_mode_of(path: str) -> str:
    """To what it is already."""
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode))
    return path


def become_user() -> str:
    os.setresuid(_OTHER, _OTHER, _OTHER)
    return "another user"


def become_group() -> str:
    os.setresgid(_OTHER, _OTHER, _OTHER)
    return "another group"


def drop_groups() -> str:
    """A group may be what keeps its members from a file."""
    os.setgroups([])
    return "no groups"


def change_securebits() -> str:
    if _library.prctl(28, 0x20, 0, 0, 0) != 0:  # PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP_LOCKED
        raise OSError(ctypes.get_errno(), "prctl")
    return "how its capabilities change with its user"


def bind_low_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 80))
    return "a port of the system's"


def give_file_capabilities() -> str:
    rights = struct.pack("<5I", 0x02000000, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0)
    os.setxattr(_of_our_own(), "security.capability", rights)
    return "a program with capabilities"


def set_real_time() -> str:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return "before every other process of the machine"


def raise_priority() -> str:
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    return "before other processes of the machine"


def lock_memory() -> str:
    """More than may be kept from being swapped."""
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if not 0 <= most < 64 << 20:
        raise Refused(f"{most} bytes are allowed")
    memory = mmap.mmap(-1, most + mmap.PAGESIZE)
    address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    if _library.mlock(address, ctypes.c_size_t(len(memory))) != 0:
        raise OSError(ctypes.get_errno(), "mlock")
    return f"{len(memory)} bytes locked"


def make_immutable() -> str:
    with open(_of_our_own()) as file:
        flags = struct.unpack("i", fcntl.ioctl(file, 0x80086601, bytes(8))[:4])[0]
        fcntl.ioctl(file, 0x40086602, struct.pack("ixxxx", flags | 0x10))  # FS_IMMUTABLE_FL
        fcntl.ioctl(file, 0x40086602, struct.pack("ixxxx", flags))
    return "a file that nobody can remove"


def set_wake_alarm() -> str:
    if _library.timerfd_create(8, 0) < 0:  # CLOCK_REALTIME_ALARM
        raise OSError(ctypes.get_errno(), "timerfd_create")
    return "it may wake the machine"


def set_capabilities() -> str:
    """To what they are."""
    head = struct.pack("Ii", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    call("capget", head, data)
    call("capset", head, data)
    return "capabilities of its choice among those it may have"

"""Namespaces, mounts and roots that a container is not to have of its own."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import select
import signal
import struct

from _system import call

_NEW_NAMESPACES = {
    "cgroup": 0x02000000,
    "ipc": 0x08000000,
    "mount": 0x00020000,
    "network": 0x40000000,
    "pid": 0x20000000,
    "user": 0x10000000,
    "uts": 0x04000000,
}
_MS_REMOUNT, _MS_BIND = 32, 4096


# --- namespaces ---


def unshare(namespace: str) -> str:
    call("unshare", _NEW_NAMESPACES[namespace])
    return f"a {namespace} namespace of its own making"


def _in_new_user_namespace(child: int) -> str:
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "a child in a new user namespace"


def clone() -> str:
    flags = _NEW_NAMESPACES["user"] | signal.SIGCHLD
    return _in_new_user_namespace(call("clone", flags, 0, 0, 0, 0))


def clone3() -> str:
    arguments = struct.pack("8Q", _NEW_NAMESPACES["user"], 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    return _in_new_user_namespace(call("clone3", arguments, len(arguments)))


def unshare_by_32_bit_call() -> str:
    """The kernel's second way in, with numbers of its own."""
    #            push rbx; mov eax, edi; mov ebx, esi; int 0x80; pop rbx; ret
    code = b"\x53\x89\xf8\x89\xf3\xcd\x80\x5b\xc3"
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    enter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(address)
    answer = enter(310, _NEW_NAMESPACES["user"])
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
    return "a user namespace, by a 32-bit call"


def unshare_by_another_numbers_call() -> str:
    """By x32's numbers, which begin above all others."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(0x40000000 + 272, _NEW_NAMESPACES["user"]) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return "a user namespace, by an x32 call"


def unshare_by_notification() -> str:
    """A filter of our own asks us, and we let the call go on: where filters differ, which holds?"""
    notify, allow, go_on = 0x7FC00000, 0x7FFF0000, 1
    number = 272 if os.uname().machine == "x86_64" else 97
    filter_ = b"".join(
        struct.pack("HBBI", *one)
        for one in (
            (0x20, 0, 0, 0),
            (0x15, 0, 1, number),
            (0x06, 0, 0, notify),
            (0x06, 0, 0, allow),
        )
    )
    program = ctypes.create_string_buffer(filter_)
    listener = call("seccomp", 1, 8, struct.pack("HxxxxxxQ", 4, ctypes.addressof(program)))
    ended, end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            call("unshare", _NEW_NAMESPACES["user"])
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    os.close(end)
    if listener in select.select([listener, ended], [], [])[0]:
        asked = bytearray(80)
        fcntl.ioctl(listener, 0xC0502100, asked)
        fcntl.ioctl(
            listener, 0xC0182101, struct.pack("=Qqii", *struct.unpack_from("Q", asked), 0, 0, go_on)
        )
    if error := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(error, "unshare")
    return "a user namespace, with our own leave"


def setns() -> str:
    namespace = os.open("/proc/self/ns/uts", os.O_RDONLY)
    call("setns", namespace, _NEW_NAMESPACES["uts"])
    return "it may join namespaces"


# --- mounts ---


def mount() -> str:
    call("mount", b"x", b"/tmp", b"tmpfs", 0, None)
    return "a tmpfs on /tmp"


def mount_proc() -> str:
    """A procfs without what was hidden of the first one."""
    os.makedirs("/tmp/proc", exist_ok=True)
    call("mount", b"proc", b"/tmp/proc", b"proc", 0, None)
    with open("/tmp/proc/interrupts") as file:
        return file.readline()


def mount_sysfs() -> str:
    os.makedirs("/tmp/sys", exist_ok=True)
    call("mount", b"sysfs", b"/tmp/sys", b"sysfs", 0, None)
    return str(os.listdir("/tmp/sys"))


def mount_cgroups_and_open_release_agent(controller: str) -> str:
    os.makedirs("/tmp/cgroups", exist_ok=True)
    call("mount", b"x", b"/tmp/cgroups", b"cgroup", 0, controller.encode())
    os.close(os.open("/tmp/cgroups/release_agent", os.O_WRONLY))
    return "the program that the kernel runs as root when a cgroup empties"


def remount_writable(directory: str) -> str:
    call("mount", None, directory.encode(), None, _MS_REMOUNT | _MS_BIND, None)
    return f"{directory} is writable"


def unmask(path: str) -> str:
    call("umount2", path.encode(), 2)
    return f"{path} is uncovered"


def unmount() -> str:
    call("umount2", b"/tmp", 2)
    return "/tmp is gone"


def pivot_root() -> str:
    call("pivot_root", b"/tmp", b"/tmp")
    return "another root"


def chroot() -> str:
    call("chroot", b"/tmp")
    return "another root"


def fsopen() -> str:
    call("fsopen", b"tmpfs", 0)
    return "a file system, to be mounted"


def open_tree() -> str:
    call("open_tree", -100, b"/usr", 1)
    return "a copy of the mount of /usr"


def leave_by_chroot(marker: str) -> str:
    """Up from a directory that a new root left behind: as far as the mounts in sight go."""
    outside = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.makedirs("/tmp/jail", exist_ok=True)
    call("chroot", b"/tmp/jail")
    os.fchdir(outside)
    for _ in range(20):
        os.chdir("..")
    with open(marker.lstrip("/")) as file:
        return file.read()

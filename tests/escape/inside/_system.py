"""System calls by number, past what the C library makes of them."""

from __future__ import annotations

import ctypes
import os
import platform

_NUMBERS = {  # x86_64, aarch64
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "io_setup": (206, 0),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}

_library = ctypes.CDLL(None, use_errno=True)
_library.syscall.restype = ctypes.c_long


class Refused(Exception):
    """What was tried did not work, and no error number says so."""


def call(name: str, *arguments: object) -> int:
    """The system call's answer; raises OSError where that is an error."""
    number = _NUMBERS[name][platform.machine() != "x86_64"]
    if number is None:
        raise Refused(f"no {name} on this architecture")
    as_long = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    answer = _library.syscall(ctypes.c_long(number), *as_long)
    if answer == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return answer


def reaches(name: str, *arguments: object, beyond: tuple[int, ...]) -> str:
    """For calls that would do harm: made so that the kernel, once it permits them, finds a fault."""
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno not in beyond:
            raise
        return f"the kernel would {name}"
    return f"{name} worked"


def sleeping_child() -> int:
    """A process of our own that does nothing; it ends with us."""
    ours = os.getpid()
    child = os.fork()
    if child == 0:
        _library.prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
        while os.getppid() == ours:
            os.read(os.pipe()[0], 1)
        os._exit(0)
    return child

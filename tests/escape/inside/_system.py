"""System calls by number, past what the C library makes of them."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

_NUMBERS = {  # x86_64, aarch64
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "afs_syscall": (183, None),
    "bpf": (321, 280),
    "cachestat": (451, 451),
    "capget": (125, 90),
    "capset": (126, 91),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "epoll_ctl_old": (214, None),
    "epoll_wait_old": (215, None),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "file_setattr": (469, 469),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, None),
    "get_mempolicy": (239, 236),
    "get_thread_area": (211, None),
    "getpmsg": (181, None),
    "init_module": (175, 105),
    "io_cancel": (210, 3),
    "io_destroy": (207, 1),
    "io_getevents": (208, 4),
    "io_pgetevents": (333, 292),
    "io_setup": (206, 0),
    "io_submit": (209, 2),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "listmount": (458, 458),
    "lookup_dcookie": (212, 18),
    "lsm_list_modules": (461, 461),
    "mbind": (237, 235),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "putpmsg": (182, None),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "seccomp": (317, 277),
    "security": (185, None),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "set_thread_area": (205, None),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "statmount": (457, 457),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "tuxcall": (184, None),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
    "vserver": (236, None),
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


def is_reached(name: str) -> str:
    """With arguments that make no sense: whether the kernel's own code is what finds that."""
    try:
        call(name, *[-1] * 6)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            raise
    return f"the kernel's {name}"


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

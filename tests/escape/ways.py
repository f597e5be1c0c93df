"""Each escape that is tried, and what must be taken away for it to succeed.

Where several mitigations stand in one way, all of them are named: each by itself would do.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from controls import (
    CGROUPS,
    CLOSED_DIRECTORIES,
    DEVICE_RULES,
    IPC,
    MASKS,
    MOUNTS,
    NAMES,
    NETWORK,
    NO_CGROUP_FILES,
    NO_NEW_PRIVILEGES,
    NOT_ANY_USER,
    OUTPUT_PIPE,
    OWN_DIRECTORY,
    PROCESSES,
    READ_ONLY_PROC,
    READ_ONLY_ROOT,
    SECCOMP,
    USERS,
    Removal,
    capabilities,
    device,
    shows,
    unlimited,
    unsized,
    without_option,
    writable,
)
from surroundings import Surroundings

MEMORY_BYTES = 256 << 20  # of the app's containers
PID_LIMIT = 1024


Given = dict[str, Any]


@dataclass(frozen=True)
class Way:
    attempt: str
    without: tuple[Removal, ...]
    given: Given = field(default_factory=dict)
    led_to: Callable[[Surroundings], Given] = lambda _: {}
    shown: Callable[[Surroundings], list[Path]] = lambda _: []  # of the machine, to the control
    lacks: Callable[[], str | None] = lambda: None  # why this machine can have no control
    to: str = ""  # what it is led to, where that alone tells it from another
    needs: str = ""  # what `ember status` would call missing: "memory limit", "network"

    @property
    def name(self) -> str:
        words = [str(value).strip("/").replace("/", "-") for value in self.given.values()]
        return "-".join([self.attempt.replace("_", "-"), *words, *self.to.split()])


def given(way: Way, surroundings: Surroundings) -> Given:
    return {**way.given, **way.led_to(surroundings)}


def _lacks_file(path: str) -> Callable[[], str | None]:
    return lambda: None if os.path.exists(path) else f"this machine has no {path}"


def _lacks_socket(family: int, kind: int) -> Callable[[], str | None]:
    def lacks() -> str | None:
        try:
            socket.socket(family, kind).close()
        except OSError as error:
            return f"this machine has no such socket: {error}"
        return None

    return lacks


def _lacks_names(directory: str) -> Callable[[], str | None]:
    def lacks() -> str | None:
        try:
            return None if os.listdir(directory) else f"nothing is in this machine's {directory}"
        except FileNotFoundError:
            return f"this machine has no {directory}"

    return lacks


def _disks() -> list[tuple[int, int, str]]:
    lines = Path("/proc/partitions").read_text().splitlines()[2:]
    return [(int(major), int(minor), name) for major, minor, _, name in map(str.split, lines)]


def _first_disk() -> Given:
    major, minor, _ = next(iter(_disks()), (8, 0, ""))
    return {"major": major, "minor": minor}


def _lacks_open_disk() -> str | None:
    for _, _, name in _disks():
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDONLY))
        except OSError as error:
            return f"this machine's root may not open its disk either: {error}"
        return None
    return "this machine has no disk"


def _lacks_controller() -> str | None:
    there = Path("/sys/fs/cgroup/devices/release_agent").exists()
    return None if there else "this machine has no cgroups of version 1"


def _lacks_real_time() -> str | None:
    grouped = Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists()
    return "this machine's kernel gives new cgroups no real time" if grouped else None


def _writable_below(directory: str) -> list[str]:
    """Files that the machine's root may write."""
    return [
        os.path.join(parent, name)
        for parent, _, names in os.walk(directory)
        for name in names
        if os.stat(os.path.join(parent, name)).st_mode & 0o200
    ]


def _first_writable(directory: str) -> Given:
    return {"path": next(iter(_writable_below(directory)), f"{directory}/none")}


def _lacks_writable(directory: str) -> Callable[[], str | None]:
    none = f"no file below this machine's {directory} can be written"
    return lambda: None if _writable_below(directory) else none


_AF_XDP = 44
_ADMIN = capabilities("CAP_SYS_ADMIN")
_PTRACE = capabilities("CAP_SYS_PTRACE")

_NAMESPACES = [
    Way("unshare", (SECCOMP,), {"namespace": "user"}),
    *(
        Way("unshare", (SECCOMP, _ADMIN), {"namespace": namespace})
        for namespace in ("mount", "network", "pid", "ipc", "uts", "cgroup")
    ),
    Way("clone", (SECCOMP,)),
    Way("clone3", (SECCOMP,)),
    Way("unshare_by_32_bit_call", (SECCOMP,)),
    Way("unshare_by_another_numbers_call", (SECCOMP,)),
    Way("unshare_by_notification", (SECCOMP,)),
    Way("setns", (SECCOMP, _ADMIN)),
]

_MOUNTS = [
    Way("mount", (SECCOMP, _ADMIN)),
    Way("mount_proc", (SECCOMP, _ADMIN, USERS)),
    Way("mount_sysfs", (SECCOMP, _ADMIN, USERS)),
    Way(
        "mount_cgroups_and_open_release_agent", (SECCOMP, _ADMIN, USERS, CGROUPS),
        {"controller": "devices"}, lacks=_lacks_controller,
    ),
    Way("remount_writable", (SECCOMP, _ADMIN), {"directory": "/usr"}),
    Way("unmask", (SECCOMP, _ADMIN), {"path": "/proc/sys"}),
    Way("unmount", (SECCOMP, _ADMIN)),
    Way("pivot_root", (SECCOMP, _ADMIN)),
    Way("chroot", (SECCOMP, capabilities("CAP_SYS_CHROOT"))),
    Way(
        "leave_by_chroot", (SECCOMP, USERS, MOUNTS, capabilities("CAP_SYS_CHROOT")),
        led_to=lambda s: {"marker": str(s.marker)},
    ),
    Way("fsopen", (SECCOMP, _ADMIN)),
    Way("open_tree", (SECCOMP, _ADMIN)),
    *(
        Way("reach", (SECCOMP, _ADMIN), {"call": call})
        for call in (
            "fsconfig", "fsmount", "fspick", "listmount", "mount_setattr", "move_mount",
            "open_tree_attr", "statmount",
        )
    ),
]  # fmt: skip

_CALLS = [
    Way("ptrace", (SECCOMP,)),
    Way("process_vm_readv", (SECCOMP,)),
    Way("process_vm_writev", (SECCOMP,)),
    Way("pidfd_getfd", (SECCOMP,)),
    Way("process_madvise", (SECCOMP,)),
    Way("kcmp", (SECCOMP,)),
    Way("bpf", (SECCOMP, USERS, capabilities("CAP_BPF", "CAP_SYS_ADMIN"))),
    Way("perf_event_open", (SECCOMP,)),
    Way("userfaultfd", (SECCOMP,)),
    Way("io_uring_setup", (SECCOMP,)),
    Way("io_setup", (SECCOMP,)),
    Way("fanotify_init", (SECCOMP, USERS, _ADMIN)),
    *(
        Way("reach", (SECCOMP,), {"call": call})
        for call in (
            "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_submit",
            "io_uring_enter", "io_uring_register", "fanotify_mark", "memfd_secret",
            "quotactl_fd", "set_mempolicy_home_node",
            # Younger than the list of what is allowed, as the next ones will be.
            "cachestat", "file_setattr", "lsm_list_modules",
            # Of other times; some kernels have them still.
            "_sysctl", "afs_syscall", "create_module", "epoll_ctl_old", "epoll_wait_old",
            "get_kernel_syms", "get_thread_area", "getpmsg", "lookup_dcookie", "nfsservctl",
            "putpmsg", "query_module", "security", "set_thread_area", "tuxcall", "vserver",
        )
    ),
    Way("keyctl", (SECCOMP,)),
    Way("add_key", (SECCOMP,)),
    Way("request_key", (SECCOMP,)),
    Way("get_mempolicy", (SECCOMP,)),
    Way("mbind", (SECCOMP,)),
    Way("set_mempolicy", (SECCOMP,)),
    Way("move_pages", (SECCOMP,)),
    Way("migrate_pages", (SECCOMP,)),
    Way("modify_ldt", (SECCOMP,)),
    Way("personality", (SECCOMP,)),
    Way("syslog", (SECCOMP, USERS, capabilities("CAP_SYSLOG"))),
    Way("init_module", (SECCOMP, USERS, capabilities("CAP_SYS_MODULE"))),
    Way("finit_module", (SECCOMP, USERS, capabilities("CAP_SYS_MODULE"))),
    Way("delete_module", (SECCOMP, USERS, capabilities("CAP_SYS_MODULE"))),
    Way("kexec_load", (SECCOMP, USERS, capabilities("CAP_SYS_BOOT"))),
    Way("reach", (SECCOMP, USERS, capabilities("CAP_SYS_BOOT")), {"call": "kexec_file_load"}),
    Way("reboot", (SECCOMP, USERS, capabilities("CAP_SYS_BOOT"))),
    Way("swapon", (SECCOMP, USERS, _ADMIN)),
    Way("swapoff", (SECCOMP, USERS, _ADMIN)),
    Way("settimeofday", (SECCOMP, USERS, capabilities("CAP_SYS_TIME"))),
    Way("clock_settime", (SECCOMP,)),
    Way("adjtimex", (SECCOMP,)),
    Way("clock_adjtime", (SECCOMP,)),
    Way("sysfs", (SECCOMP,)),
    Way("uselib", (SECCOMP,)),
    Way("ustat", (SECCOMP,)),
    Way("vhangup", (SECCOMP, USERS, capabilities("CAP_SYS_TTY_CONFIG"))),
    Way("quotactl", (SECCOMP,)),
    Way("acct", (SECCOMP, USERS, capabilities("CAP_SYS_PACCT"))),
    Way("sethostname", (SECCOMP, _ADMIN)),
    Way("setdomainname", (SECCOMP, _ADMIN)),
    Way("iopl", (SECCOMP, USERS, capabilities("CAP_SYS_RAWIO"))),
    Way("ioperm", (SECCOMP, USERS, capabilities("CAP_SYS_RAWIO"))),
    Way(
        "open_by_handle", (SECCOMP, USERS, capabilities("CAP_DAC_READ_SEARCH")),
        {"path": "/usr/bin/env"},
    ),
    Way("crypto_socket", (SECCOMP,), lacks=_lacks_socket(socket.AF_ALG, socket.SOCK_SEQPACKET)),
    Way("machine_socket", (SECCOMP,), lacks=_lacks_socket(socket.AF_VSOCK, socket.SOCK_STREAM)),
    Way("packet_socket", (SECCOMP, USERS, capabilities("CAP_NET_RAW"))),
    Way("raw_socket", (USERS, capabilities("CAP_NET_RAW"))),
    *(
        Way(
            "socket_of_family", (SECCOMP, USERS, capabilities("CAP_NET_ADMIN", "CAP_NET_RAW")),
            {"family": family, "kind": kind}, lacks=_lacks_socket(family, kind),
        )
        for family, kind in (
            (socket.AF_BLUETOOTH, socket.SOCK_RAW), (socket.AF_CAN, socket.SOCK_RAW),
            (socket.AF_RDS, socket.SOCK_SEQPACKET), (socket.AF_TIPC, socket.SOCK_DGRAM),
            (_AF_XDP, socket.SOCK_RAW),
        )
    ),
    *(
        Way("netlink_socket", (SECCOMP,), {"protocol": protocol})
        # diagnosis, IPsec, SELinux, audit, naming, connector, netfilter, device events, generic
        for protocol in (4, 6, 7, 9, 10, 11, 12, 15, 16)
    ),
    Way("netlink_pair", (SECCOMP,), {"protocol": 9}),
    Way("change_network", (USERS, capabilities("CAP_NET_ADMIN"))),
    Way(
        "grow_capabilities",
        (SECCOMP, NO_NEW_PRIVILEGES, Removal("an empty bounding set", capabilities("CAP_SYS_ADMIN").apply)),
    ),
]  # fmt: skip

_PROC = [
    *(
        Way("open_to_write", (READ_ONLY_PROC, USERS), {"path": path}, lacks=_lacks_file(path))
        for path in (
            "/proc/sysrq-trigger",
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/modprobe",
            "/proc/sys/kernel/randomize_va_space",
            "/proc/sys/vm/panic_on_oom",
            "/proc/irq/default_smp_affinity",
        )
    ),
    *(
        Way(
            "open_to_write", (READ_ONLY_PROC, USERS), to=directory.split("/")[-1],
            led_to=lambda _, directory=directory: _first_writable(directory),
            lacks=_lacks_writable(directory),
        )
        for directory in ("/proc/bus", "/proc/fs")
    ),
    Way(
        "open_to_write",
        (READ_ONLY_PROC, capabilities("CAP_NET_ADMIN")),
        {"path": "/proc/sys/net/ipv4/ip_forward"},
    ),
    Way(
        "open_to_write", (READ_ONLY_PROC, USERS),
        {"path": "/proc/sys/fs/binfmt_misc/register"},
        lacks=_lacks_file("/proc/sys/fs/binfmt_misc/register"),
    ),
    *(
        Way("open_to_read", (USERS,), {"path": path}, lacks=_lacks_file(path))
        for path in (
            "/proc/kpagecount", "/proc/kpageflags", "/proc/pagetypeinfo", "/proc/slabinfo",
            "/proc/vmallocinfo",
        )
    ),
    Way("open_to_read", (USERS, capabilities("CAP_SYSLOG")), {"path": "/proc/kmsg"}),
    *(
        Way("read", (MASKS,), {"path": path}, lacks=_lacks_file(path))
        for path in (
            "/proc/interrupts", "/proc/sched_debug", "/proc/latency_stats", "/proc/timer_stats",
        )
    ),
    *(
        Way("read", (MASKS, USERS), {"path": path}, lacks=_lacks_file(path))
        for path in ("/proc/keys", "/proc/timer_list")
    ),
    Way(
        "read", (MASKS, USERS, capabilities("CAP_SYS_RAWIO")), {"path": "/proc/kcore"},
        lacks=_lacks_file("/proc/kcore"),
    ),
    *(
        Way("list_directory", (MASKS,), {"path": path}, lacks=_lacks_names(path))
        for path in ("/proc/acpi", "/proc/scsi", "/proc/asound")
    ),
    *(
        Way(
            "list_directory", (Removal("a root without /sys", shows("/sys").apply), MASKS),
            {"path": path}, lacks=_lacks_names(path),
        )
        for path in ("/sys", "/sys/firmware", "/sys/devices/virtual/powercap")
    ),
    Way(
        "open_to_write", (Removal("a root without /sys", shows("/sys").apply), USERS),
        {"path": "/sys/kernel/mm/transparent_hugepage/enabled"},
        lacks=_lacks_file("/sys/kernel/mm/transparent_hugepage/enabled"),
    ),
    Way(
        "write_score", (USERS, capabilities("CAP_SYS_RESOURCE")),
        {"path": "/proc/self/oom_score_adj"},
    ),
    Way("find_own_cgroup", (CGROUPS,)),
    Way("raise_own_limit", (NO_CGROUP_FILES, USERS)),
]  # fmt: skip

_DEVICES = [
    Way("make_device", (USERS, capabilities("CAP_MKNOD"), DEVICE_RULES)),
    Way(
        "make_and_open_device",
        (USERS, capabilities("CAP_MKNOD"), DEVICE_RULES, without_option("nodev", "/tmp")),
    ),
    Way(
        "make_and_open_memory",
        (
            USERS, capabilities("CAP_MKNOD", "CAP_SYS_RAWIO"), DEVICE_RULES,
            without_option("nodev", "/tmp"),
        ),
        lacks=_lacks_file("/dev/mem"),
    ),
    Way(
        "make_and_open_disk",
        (USERS, capabilities("CAP_MKNOD"), DEVICE_RULES, without_option("nodev", "/tmp")),
        _first_disk(), lacks=_lacks_open_disk,
    ),
    *(
        Way("open_device", (USERS, DEVICE_RULES, device(path)), {"path": path})
        for path in (
            "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-modeset",
            "/dev/nvidia-caps/nvidia-cap1", "/dev/mem", "/dev/port", "/dev/kmsg", "/dev/kvm",
            "/dev/fuse", "/dev/net/tun", "/dev/loop-control", "/dev/mapper/control",
        )
    ),
    Way("change_device", (USERS,), {"path": "/dev/zero"}),
]  # fmt: skip

_RIGHTS = [
    Way("set_capabilities", (SECCOMP,)),
    Way("give_file_away", (capabilities("CAP_CHOWN"),)),
    Way("read_without_mode", (capabilities("CAP_DAC_OVERRIDE"),)),
    Way("change_mode_of", (USERS, NOT_ANY_USER, capabilities("CAP_FOWNER")), {"path": "/dev/full"}),
    Way("keep_set_user_id", (USERS, capabilities("CAP_FSETID"))),
    Way("become_user", (capabilities("CAP_SETUID"),)),
    Way("become_group", (capabilities("CAP_SETGID"),)),
    Way("drop_groups", (capabilities("CAP_SETGID"),)),
    Way("change_securebits", (capabilities("CAP_SETPCAP"),)),
    Way("bind_low_port", (capabilities("CAP_NET_BIND_SERVICE"),)),
    Way("give_file_capabilities", (capabilities("CAP_SETFCAP"),)),
    Way("signal_process", (PROCESSES, USERS, NOT_ANY_USER, capabilities("CAP_KILL")),
        to="of another user", led_to=lambda s: {"process": s.process}),
    Way("set_real_time", (USERS, capabilities("CAP_SYS_NICE")), lacks=_lacks_real_time),
    Way("raise_priority", (USERS, capabilities("CAP_SYS_NICE"))),
    Way("lock_memory", (USERS, capabilities("CAP_IPC_LOCK"))),
    Way("make_immutable", (USERS, capabilities("CAP_LINUX_IMMUTABLE"))),
    Way("set_wake_alarm", (USERS, capabilities("CAP_WAKE_ALARM"))),
]  # fmt: skip

_FILES = [
    Way("read", (USERS, shows("/etc")), {"path": "/etc/shadow"}),
    Way("list_directory", (USERS,), {"path": "/etc/ssl/private"},
        lacks=_lacks_names("/etc/ssl/private")),
    Way("open_to_write", (USERS, writable("/usr")), {"path": "/usr/lib/os-release"}),
    Way("open_to_write", (USERS, writable("/usr")), {"path": "/usr/bin/env"}),
    Way("overwrite_running_program", (USERS, writable("/usr")), {"program": "/usr/bin/tac"}),
    Way("change_owner", (USERS, writable("/usr"), capabilities("CAP_CHOWN")),
        {"path": "/usr/lib/os-release"}),
    Way("open_to_write", (USERS, READ_ONLY_ROOT), {"path": "/etc/passwd"}),
    Way("create_in", (USERS, READ_ONLY_ROOT), {"directory": "/ember"}),
    Way("create_in", (USERS, writable("/source")), {"directory": "/source"}),
    Way("create_in", (USERS, writable("/ember/run")), {"directory": "/ember/run"}),
    Way("replace_by_link", (USERS, writable("/ember/run")),
        {"path": "/ember/run/function.json", "target": "/etc/passwd"}),
    Way("read", (USERS,), led_to=lambda s: {"path": str(s.key)}, shown=lambda s: [s.key.parent]),
    Way("list_directory", (USERS,),
        led_to=lambda s: {"path": str(s.key.parent / "node" / "containers")},
        shown=lambda s: [s.key.parent]),
    Way("leave_by_root_of_another", (PROCESSES, USERS, _PTRACE),
        led_to=lambda s: {"marker": str(s.marker)}),
    Way("leave_by_descriptor", (CLOSED_DIRECTORIES,), led_to=lambda s: {"marker": str(s.marker)}),
    Way("leave_by_working_directory", (OWN_DIRECTORY, CLOSED_DIRECTORIES),
        led_to=lambda s: {"marker": str(s.marker)}),
    Way("keep_descriptors", (CLOSED_DIRECTORIES,)),
    Way(
        "run_setuid_program",
        (
            SECCOMP, USERS, NO_NEW_PRIVILEGES, NOT_ANY_USER, without_option("nosuid", "/usr"),
            capabilities("CAP_SYS_ADMIN"),
        ),
        {"program": "/usr/bin/su"},
    ),
    Way("run_program_in", (without_option("noexec", "/dev/shm"),), {"directory": "/dev/shm"}),
    Way("map_low_addresses", (USERS, capabilities("CAP_SYS_RAWIO"))),
]  # fmt: skip

_OTHERS = [
    Way("signal_process", (PROCESSES, USERS), led_to=lambda s: {"process": s.process}),
    Way("open_process", (PROCESSES, USERS), led_to=lambda s: {"process": s.process}),
    Way("read_environment", (PROCESSES, USERS, _PTRACE), led_to=lambda s: {"process": s.process}),
    Way("read_memory", (PROCESSES, USERS, _PTRACE), led_to=lambda s: {"process": s.process}),
    Way("trace_process", (SECCOMP, PROCESSES, USERS, _PTRACE),
        led_to=lambda s: {"process": s.process}),
    Way("set_limit_of_process", (PROCESSES, USERS), led_to=lambda s: {"process": s.process}),
    Way("change_priority", (PROCESSES, USERS, capabilities("CAP_SYS_NICE")),
        led_to=lambda s: {"process": s.process}),
    Way("attach_shared_memory", (IPC, USERS), led_to=lambda s: {"key": s.shared_memory}),
    Way("learn_machine_name", (NAMES,), led_to=lambda _: {"name": os.uname().nodename}),
    Way("connect_abstract", (NETWORK,), needs="network", led_to=lambda s: {"name": s.abstract}),
    Way("connect_loopback", (NETWORK,), needs="network", led_to=lambda s: {"port": s.port}),
    Way("connect_loopback", (NETWORK,), needs="network", to="the server",
        led_to=lambda s: {"port": s.api_port}),
    Way("connect_path", (), to="a service", led_to=lambda s: {"path": str(s.path)},
        shown=lambda s: [s.path.parent]),
    Way("connect_path", (), to="a runner", led_to=lambda s: {"path": str(s.other_socket)},
        shown=lambda s: [s.key.parent]),
]  # fmt: skip

LIMITS = [
    Way("start_threads", (unlimited("pids"),), {"count": PID_LIMIT + 50}, needs="process limit"),
    Way("fork_processes", (unlimited("pids"), unlimited("memory")), {"count": PID_LIMIT + 50}, needs="process limit"),
    Way("take_memory", (unlimited("memory"),), {"size_bytes": MEMORY_BYTES + (64 << 20)}, needs="memory limit"),
    *(
        Way(attempt, (unlimited("memory"),), {"size_bytes": MEMORY_BYTES + (64 << 20)},
            needs="memory limit")
        for attempt in ("take_memory_by_file", "take_shared_memory")
    ),
    *(
        Way("fill", (unlimited("memory"), unsized(directory)),
            {"directory": directory, "size_bytes": MEMORY_BYTES // 2 + (8 << 20)})
        for directory in ("/tmp", "/dev/shm", "/root")
    ),
    Way("fill_machine_by_output", (OUTPUT_PIPE,), {"size_bytes": 4 << 20}),
    Way("raise_open_files", (USERS, capabilities("CAP_SYS_RESOURCE"))),
]  # fmt: skip

WAYS = [*_NAMESPACES, *_MOUNTS, *_CALLS, *_PROC, *_DEVICES, *_RIGHTS, *_FILES, *_OTHERS, *LIMITS]

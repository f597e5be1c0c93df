"""System calls that a container is not to make."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import select
import signal
import socket
import struct

from _system import Refused, call, is_reached, reaches, sleeping_child

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


# --- other processes ---


def ptrace() -> str:
    child = sleeping_child()
    call("ptrace", 0x4206, child, 0, 0)
    return "it traces another process"


def process_vm_readv() -> str:
    buffer = ctypes.create_string_buffer(8)
    here = ctypes.addressof(buffer)
    vector = struct.pack("QQ", here, 8)
    call("process_vm_readv", sleeping_child(), vector, 1, vector, 1, 0)
    return "another process's memory"


def process_vm_writev() -> str:
    buffer = ctypes.create_string_buffer(8)
    vector = struct.pack("QQ", ctypes.addressof(buffer), 8)
    call("process_vm_writev", sleeping_child(), vector, 1, vector, 1, 0)
    return "another process's memory, changed"


def pidfd_getfd() -> str:
    call("pidfd_getfd", os.pidfd_open(sleeping_child()), 0, 0)
    return "another process's descriptor"


def process_madvise() -> str:
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    vector = struct.pack("QQ", address, mmap.PAGESIZE)
    call("process_madvise", os.pidfd_open(os.getpid()), vector, 1, 20, 0)
    return "what other processes keep in memory"


def kcmp() -> str:
    call("kcmp", os.getpid(), os.getpid(), 1, 0, 0)
    return "it compares processes' parts in the kernel"


# --- any part of the kernel ---


def reach(call: str) -> str:
    return is_reached(call)


# --- large and young parts of the kernel ---


def bpf() -> str:
    attributes = struct.pack("5I", 2, 4, 8, 1, 0).ljust(128, b"\0")
    call("bpf", 0, attributes, len(attributes))
    return "a BPF map"


def perf_event_open() -> str:
    # type software, size, config task-clock; disabled, exclude_kernel, exclude_hv
    attributes = struct.pack("IIQQQQQ", 1, 112, 1, 0, 0, 0, 0x1 | 0x20 | 0x40).ljust(112, b"\0")
    call("perf_event_open", attributes, 0, -1, -1, 0)
    return "a performance counter"


def userfaultfd() -> str:
    call("userfaultfd", 1)
    return "page faults of its own to serve"


def io_uring_setup() -> str:
    call("io_uring_setup", 1, ctypes.create_string_buffer(120))
    return "a ring"


def io_setup() -> str:
    call("io_setup", 1, ctypes.create_string_buffer(8))
    return "asynchronous I/O of the kernel's old kind"


def fanotify_init() -> str:
    call("fanotify_init", 0, 0)
    return "it is told of what others open"


def keyctl() -> str:
    call("keyctl", 0, -2, 1)
    return "a key ring"


def add_key() -> str:
    call("add_key", b"user", b"escape", b"x", 1, -2)
    return "a key"


def request_key() -> str:
    return reaches("request_key", b"user", b"escape", None, 0, beyond=(errno.ENOKEY,))


def mbind() -> str:
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    call("mbind", address, mmap.PAGESIZE, 0, None, 0, 0)
    return "where the machine's memory is taken"


def set_mempolicy() -> str:
    call("set_mempolicy", 0, None, 0)
    return "where the machine's memory is taken"


def move_pages() -> str:
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    address = struct.pack("Q", ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    call("move_pages", 0, 1, address, None, ctypes.create_string_buffer(4), 0)
    return "where pages lie"


def migrate_pages() -> str:
    call("migrate_pages", 0, 64, struct.pack("Q", 1), struct.pack("Q", 1))
    return "it moves pages between nodes"


def modify_ldt() -> str:
    call("modify_ldt", 0, ctypes.create_string_buffer(16), 16)
    return "segments"


def personality() -> str:
    call("personality", 0x0400000)
    return "readable memory is executable"


def get_mempolicy() -> str:
    call("get_mempolicy", ctypes.create_string_buffer(4), None, 0, None, 0)
    return "where the machine's memory is taken"


# --- the machine's state ---


def sysfs() -> str:
    return f"{call('sysfs', 3)} kinds of file system"


def vhangup() -> str:
    call("vhangup")
    return "it may hang terminals up"


def adjtimex() -> str:
    call("adjtimex", ctypes.create_string_buffer(256))
    return "the clock's state, and to some its rate"


def clock_adjtime() -> str:
    call("clock_adjtime", 0, ctypes.create_string_buffer(256))
    return "the clock's state, and to some its rate"


def uselib() -> str:
    return reaches("uselib", b"/nonexistent", beyond=(errno.ENOENT,))


def ustat() -> str:
    return reaches("ustat", 0, ctypes.create_string_buffer(64), beyond=(errno.EINVAL,))


def syslog() -> str:
    return f"a kernel log of {call('syslog', 10, None, 0)} bytes"


def init_module() -> str:
    return reaches("init_module", None, 0, b"", beyond=(errno.ENOEXEC, errno.EFAULT))


def finit_module() -> str:
    return reaches("finit_module", -1, b"", 0, beyond=(errno.EBADF,))


def delete_module() -> str:
    return reaches("delete_module", b"no_such_module", 0, beyond=(errno.ENOENT,))


def kexec_load() -> str:
    return reaches("kexec_load", 0, 0, None, 0xFFFF, beyond=(errno.EINVAL,))


def reboot() -> str:
    return reaches("reboot", 0, 0, 0, None, beyond=(errno.EINVAL,))


def swapon() -> str:
    return reaches("swapon", b"/nonexistent", 0, beyond=(errno.ENOENT,))


def swapoff() -> str:
    return reaches("swapoff", b"/nonexistent", beyond=(errno.ENOENT,))


def settimeofday() -> str:
    call("settimeofday", None, None)
    return "it may set the clock"


def clock_settime() -> str:
    impossible = struct.pack("qq", -1, -1)
    return reaches("clock_settime", 0, impossible, beyond=(errno.EINVAL,))


def quotactl() -> str:
    beyond = (errno.ENOTBLK, errno.ENODEV, errno.EINVAL, errno.ESRCH)
    return reaches("quotactl", 0x80000400, b"/dev/null", 0, None, beyond=beyond)


def acct() -> str:
    return reaches("acct", b"/nonexistent", beyond=(errno.ENOENT,))


def sethostname() -> str:
    name = os.uname().nodename.encode()
    call("sethostname", name, len(name))
    return "it may rename the machine"


def setdomainname() -> str:
    call("setdomainname", b"(none)", 6)
    return "it may rename the machine's domain"


def iopl() -> str:
    call("iopl", 3)
    return "every port of the machine"


def ioperm() -> str:
    call("ioperm", 0x80, 1, 1)
    return "a port of the machine"


def open_by_handle(path: str) -> str:
    """A file by its number, whatever stands above it."""
    handle = ctypes.create_string_buffer(struct.pack("I", 120), 128)
    mount_id = ctypes.create_string_buffer(8)
    call("name_to_handle_at", -100, path.encode(), handle, mount_id, 0)
    there = os.open(path, os.O_RDONLY)
    os.close(call("open_by_handle_at", there, handle, os.O_RDONLY))
    return f"{path}, by its number"


# --- sockets ---


def _opens(family: int, kind: int, protocol: int = 0) -> str:
    socket.socket(family, kind, protocol).close()
    return "a socket"


def crypto_socket() -> str:
    return _opens(socket.AF_ALG, socket.SOCK_SEQPACKET)


def machine_socket() -> str:
    return _opens(socket.AF_VSOCK, socket.SOCK_STREAM)


def packet_socket() -> str:
    return _opens(socket.AF_PACKET, socket.SOCK_RAW)


def raw_socket() -> str:
    return _opens(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


def socket_of_family(family: int, kind: int, protocol: int = 0) -> str:
    return _opens(family, kind, protocol)


def netlink_socket(protocol: int) -> str:
    return _opens(socket.AF_NETLINK, socket.SOCK_RAW, protocol)


def netlink_pair(protocol: int) -> str:
    """There are no such pairs, but both sockets are made before that is found."""
    try:
        socket.socketpair(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    return "two sockets"


def change_network() -> str:
    """Brings the loopback up where it is up: the same permission as taking closed routes away."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    # RTM_NEWLINK with an acknowledgement; IFF_UP of interface 1
    message = struct.pack("IHHII", 32, 16, 5, 1, 0) + struct.pack("BxHiII", 0, 0, 1, 1, 1)
    link.send(message)
    (error,) = struct.unpack_from("i", link.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error))
    return "it may change the network and its routes"


def grow_capabilities() -> str:
    """Whom root is, any program makes anew: with no rights to give it gets none."""
    read = ("import re; print(re.search('CapEff:\\t(.*)', open('/proc/self/status').read())[1])",)
    pipe = os.popen(f'/usr/bin/python3 -S -c "{read[0]}"')
    rights = int(pipe.read(), 16)
    if rights == 0:
        raise Refused("a new program has no capabilities either")
    return f"capabilities {rights:x}"

"""System calls that a container is not to make."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct

from _system import Refused, call, is_reached, reaches, sleeping_child

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

#include "node/seccomp.h"

#include <linux/audit.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <openssl/evp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "base/assert.h"

namespace ember {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "seccomp: name this architecture"
#endif

// Allowed whatever the arguments. Left out, beside what is unknown: mounts, namespaces, modules,
// keys, bpf, perf, ptrace and reading other processes' memory, userfaultfd, io_uring, quotas,
// clocks, swap, reboot, host names, file handles by number, and on which of the machine's memory
// nodes pages lie.
constexpr int kAllowed[] = {
#if defined(__x86_64__)
    SYS_access,
    SYS_alarm,
    SYS_arch_prctl,
    SYS_chmod,
    SYS_chown,
    SYS_creat,
    SYS_dup2,
    SYS_epoll_create,
    SYS_epoll_wait,
    SYS_eventfd,
    SYS_fork,
    SYS_futimesat,
    SYS_getdents,
    SYS_getpgrp,
    SYS_getrlimit,
    SYS_inotify_init,
    SYS_lchown,
    SYS_link,
    SYS_lstat,
    SYS_mkdir,
    SYS_mknod,
    SYS_open,
    SYS_pause,
    SYS_pipe,
    SYS_poll,
    SYS_readlink,
    SYS_rename,
    SYS_rmdir,
    SYS_select,
    SYS_sendfile,
    SYS_signalfd,
    SYS_stat,
    SYS_symlink,
    SYS_time,
    SYS_unlink,
    SYS_utime,
    SYS_utimes,
    SYS_vfork,
    SYS_newfstatat,
#else
    SYS_newfstatat,
#endif
    SYS_accept,
    SYS_accept4,
    SYS_bind,
    SYS_brk,
    SYS_capget,
    SYS_chdir,
    SYS_clock_getres,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_close,
    SYS_close_range,
    SYS_connect,
    SYS_copy_file_range,
    SYS_dup,
    SYS_dup3,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_execve,
    SYS_execveat,
    SYS_exit,
    SYS_exit_group,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fadvise64,
    SYS_fallocate,
    SYS_fchdir,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_fcntl,
    SYS_fdatasync,
    SYS_fgetxattr,
    SYS_flistxattr,
    SYS_flock,
    SYS_fremovexattr,
    SYS_fsetxattr,
    SYS_fstat,
    SYS_fstatfs,
    SYS_fsync,
    SYS_ftruncate,
    SYS_futex,
    SYS_futex_waitv,
    SYS_get_robust_list,
    SYS_getcpu,
    SYS_getcwd,
    SYS_getdents64,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getgroups,
    SYS_getitimer,
    SYS_getpeername,
    SYS_getpgid,
    SYS_getpid,
    SYS_getppid,
    SYS_getpriority,
    SYS_getrandom,
    SYS_getresgid,
    SYS_getresuid,
    SYS_getrusage,
    SYS_getsid,
    SYS_getsockname,
    SYS_getsockopt,
    SYS_gettid,
    SYS_gettimeofday,
    SYS_getuid,
    SYS_getxattr,
    SYS_inotify_add_watch,
    SYS_inotify_init1,
    SYS_inotify_rm_watch,
    SYS_ioctl,
    SYS_ioprio_get,
    SYS_ioprio_set,
    SYS_kill,
    SYS_landlock_add_rule,
    SYS_landlock_create_ruleset,
    SYS_landlock_restrict_self,
    SYS_lgetxattr,
    SYS_linkat,
    SYS_listen,
    SYS_listxattr,
    SYS_llistxattr,
    SYS_lremovexattr,
    SYS_lseek,
    SYS_lsetxattr,
    SYS_madvise,
    SYS_membarrier,
    SYS_memfd_create,
    SYS_mincore,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_mlock,
    SYS_mlock2,
    SYS_mlockall,
    SYS_mmap,
    SYS_mprotect,
    SYS_mq_getsetattr,
    SYS_mq_notify,
    SYS_mq_open,
    SYS_mq_timedreceive,
    SYS_mq_timedsend,
    SYS_mq_unlink,
    SYS_mremap,
    SYS_msgctl,
    SYS_msgget,
    SYS_msgrcv,
    SYS_msgsnd,
    SYS_msync,
    SYS_munlock,
    SYS_munlockall,
    SYS_munmap,
    SYS_nanosleep,
    SYS_openat,
    SYS_openat2,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_pipe2,
    SYS_pkey_alloc,
    SYS_pkey_free,
    SYS_pkey_mprotect,
    SYS_ppoll,
    SYS_prctl,
    SYS_pread64,
    SYS_preadv,
    SYS_preadv2,
    SYS_prlimit64,
    SYS_process_mrelease,
    SYS_pselect6,
    SYS_pwrite64,
    SYS_pwritev,
    SYS_pwritev2,
    SYS_read,
    SYS_readahead,
    SYS_readlinkat,
    SYS_readv,
    SYS_recvfrom,
    SYS_recvmmsg,
    SYS_recvmsg,
    SYS_remap_file_pages,
    SYS_removexattr,
    SYS_renameat,
    SYS_renameat2,
    SYS_restart_syscall,
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigpending,
    SYS_rt_sigprocmask,
    SYS_rt_sigqueueinfo,
    SYS_rt_sigreturn,
    SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait,
    SYS_rt_tgsigqueueinfo,
    SYS_sched_get_priority_max,
    SYS_sched_get_priority_min,
    SYS_sched_getaffinity,
    SYS_sched_getattr,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_sched_rr_get_interval,
    SYS_sched_setaffinity,
    SYS_sched_setattr,
    SYS_sched_setparam,
    SYS_sched_setscheduler,
    SYS_sched_yield,
    SYS_seccomp,
    SYS_semctl,
    SYS_semget,
    SYS_semop,
    SYS_semtimedop,
    SYS_sendmmsg,
    SYS_sendmsg,
    SYS_sendto,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_setfsgid,
    SYS_setfsuid,
    SYS_setgid,
    SYS_setgroups,
    SYS_setitimer,
    SYS_setpgid,
    SYS_setpriority,
    SYS_setregid,
    SYS_setresgid,
    SYS_setresuid,
    SYS_setreuid,
    SYS_setrlimit,
    SYS_setsid,
    SYS_setsockopt,
    SYS_setuid,
    SYS_setxattr,
    SYS_shmat,
    SYS_shmctl,
    SYS_shmdt,
    SYS_shmget,
    SYS_shutdown,
    SYS_sigaltstack,
    SYS_signalfd4,
    SYS_splice,
    SYS_statfs,
    SYS_statx,
    SYS_symlinkat,
    SYS_sync,
    SYS_sync_file_range,
    SYS_syncfs,
    SYS_sysinfo,
    SYS_tee,
    SYS_tgkill,
    SYS_timer_create,
    SYS_timer_delete,
    SYS_timer_getoverrun,
    SYS_timer_gettime,
    SYS_timer_settime,
    SYS_timerfd_create,
    SYS_timerfd_gettime,
    SYS_timerfd_settime,
    SYS_times,
    SYS_tkill,
    SYS_truncate,
    SYS_umask,
    SYS_uname,
    SYS_unlinkat,
    SYS_utimensat,
    SYS_vmsplice,
    SYS_wait4,
    SYS_waitid,
    SYS_write,
    SYS_writev};

// What a program takes that makes containers, in the namespaces that are its own already.
constexpr int kOfContainers[] = {SYS_chroot,     SYS_fsconfig,      SYS_fsmount,     SYS_fsopen,
                                 SYS_mount,      SYS_mount_setattr, SYS_move_mount,  SYS_open_tree,
                                 SYS_pivot_root, SYS_setdomainname, SYS_sethostname, SYS_setns,
                                 SYS_umount2,    SYS_unshare};

// Refused as a matter of permission; programs ask for these and expect that they may be refused.
constexpr int kForbidden[] = {SYS_acct,
                              SYS_add_key,
                              SYS_bpf,
                              SYS_chroot,
                              SYS_clock_settime,
                              SYS_delete_module,
                              SYS_fsopen,
                              SYS_init_module,
                              SYS_io_uring_setup,
                              SYS_kexec_load,
                              SYS_keyctl,
                              SYS_mount,
                              SYS_move_mount,
                              SYS_name_to_handle_at,
                              SYS_open_by_handle_at,
                              SYS_open_tree,
                              SYS_perf_event_open,
                              SYS_pivot_root,
                              SYS_process_vm_readv,
                              SYS_process_vm_writev,
                              SYS_ptrace,
                              SYS_reboot,
                              SYS_request_key,
                              SYS_setdomainname,
                              SYS_sethostname,
                              SYS_setns,
                              SYS_settimeofday,
                              SYS_swapoff,
                              SYS_swapon,
                              SYS_syslog,
                              SYS_umount2,
                              SYS_unshare,
                              SYS_userfaultfd,
                              SYS_vhangup};

constexpr int kFamilies[] = {AF_UNIX, AF_INET, AF_INET6};

constexpr std::uint32_t kNamespaceFlags = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                          CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                                          CLONE_NEWNET;

constexpr std::uint32_t fails_with(int error) {
  return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error);
}

class Assembler {
 public:
  void load(std::size_t offset) {
    add({BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(offset)});
  }
  void answer(std::uint32_t action) { add({BPF_RET | BPF_K, 0, 0, action}); }
  // Skips so many of the next instructions when the test holds, else so many others.
  void jump(std::uint16_t test, std::uint32_t value, std::size_t if_true, std::size_t if_false) {
    EMBER_ASSERT(if_true < 256 && if_false < 256);
    add({static_cast<std::uint16_t>(BPF_JMP | test | BPF_K), static_cast<std::uint8_t>(if_true),
         static_cast<std::uint8_t>(if_false), value});
  }
  // Answers when the loaded number is the one, else goes on.
  void answer_if(std::uint32_t number, std::uint32_t action) {
    jump(BPF_JEQ, number, 0, 1);
    answer(action);
  }
  std::vector<sock_filter> take() { return std::move(program_); }

 private:
  void add(sock_filter instruction) { program_.push_back(instruction); }
  std::vector<sock_filter> program_;
};

struct Range {
  std::uint32_t first, last;
};

// The allowed numbers as few ranges, in order.
std::vector<Range> allowed_ranges(SystemCalls allowed) {
  std::vector<std::uint32_t> numbers(std::begin(kAllowed), std::end(kAllowed));
  if (allowed == SystemCalls::of_containers) {
    numbers.insert(numbers.end(), std::begin(kOfContainers), std::end(kOfContainers));
    numbers.push_back(SYS_clone);
  }
  std::sort(numbers.begin(), numbers.end());
  std::vector<Range> ranges;
  for (const std::uint32_t number : numbers) {
    if (!ranges.empty() && number <= ranges.back().last + 1) {
      ranges.back().last = number;
    } else {
      ranges.push_back({number, number});
    }
  }
  return ranges;
}

void check_architecture(Assembler& out) {
  out.load(offsetof(seccomp_data, arch));
  out.jump(BPF_JEQ, kArchitecture, 1, 0);
  out.answer(SECCOMP_RET_KILL_PROCESS);
}

// Threads and processes yes, namespaces no. clone3's arguments lie in memory, where no filter can
// look: libraries fall back to clone.
void check_clone(Assembler& out) {
  out.answer_if(SYS_clone3, fails_with(ENOSYS));
  out.jump(BPF_JEQ, SYS_clone, 0, 4);
  out.load(offsetof(seccomp_data, args[0]));
  out.jump(BPF_JSET, kNamespaceFlags, 0, 1);
  out.answer(fails_with(EPERM));
  out.answer(SECCOMP_RET_ALLOW);
}

// Of netlink's protocols the one that looking a name up takes.
void check_socket(Assembler& out) {
  constexpr std::size_t kCount = std::size(kFamilies);
  out.jump(BPF_JEQ, SYS_socket, 0, 1 + 2 * kCount + 5);
  out.load(offsetof(seccomp_data, args[0]));
  for (const int family : kFamilies) {
    out.answer_if(static_cast<std::uint32_t>(family), SECCOMP_RET_ALLOW);
  }
  out.jump(BPF_JEQ, AF_NETLINK, 0, 3);
  out.load(offsetof(seccomp_data, args[2]));
  out.answer_if(NETLINK_ROUTE, SECCOMP_RET_ALLOW);
  out.answer(fails_with(EAFNOSUPPORT));
}

// It makes sockets of any family before it finds that they make no pairs.
void check_socketpair(Assembler& out) {
  out.jump(BPF_JEQ, SYS_socketpair, 0, 4);
  out.load(offsetof(seccomp_data, args[0]));
  out.answer_if(AF_UNIX, SECCOMP_RET_ALLOW);
  out.answer(fails_with(EAFNOSUPPORT));
}

// personality(0xffffffff) asks; 0 is what every process has.
void check_personality(Assembler& out) {
  out.jump(BPF_JEQ, SYS_personality, 0, 6);
  out.load(offsetof(seccomp_data, args[0]));
  out.answer_if(0xffffffff, SECCOMP_RET_ALLOW);
  out.answer_if(0, SECCOMP_RET_ALLOW);
  out.answer(fails_with(EPERM));
}

}  // namespace

std::vector<sock_filter> seccomp_program(SystemCalls allowed) {
  Assembler out;
  check_architecture(out);
  out.load(offsetof(seccomp_data, nr));
  // Above the last known number lie x32's calls, among others.
  for (const Range& range : allowed_ranges(allowed)) {
    if (range.first == range.last) {
      out.answer_if(range.first, SECCOMP_RET_ALLOW);
    } else {
      out.jump(BPF_JGE, range.first, 0, 2);
      out.jump(BPF_JGT, range.last, 1, 0);
      out.answer(SECCOMP_RET_ALLOW);
    }
  }
  check_clone(out);
  check_socket(out);
  check_socketpair(out);
  check_personality(out);
  for (const int number : kForbidden) {
    out.answer_if(static_cast<std::uint32_t>(number), fails_with(EPERM));
  }
  out.answer(fails_with(ENOSYS));
  return out.take();
}

std::string seccomp_annotation(SystemCalls allowed) {
  const std::vector<sock_filter> program = seccomp_program(allowed);
  const std::size_t size = program.size() * sizeof(sock_filter);
  std::string text(4 * ((size + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(program.data()),
                                     static_cast<int>(size));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

}  // namespace ember

// What the kernel allows this process.
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "node/cgroup.h"
#include "node/doctor.h"
#include "node/unique_fd.h"

namespace ember {
namespace {

constexpr rlim_t kFewestDescriptors = 4096;
constexpr rlim_t kDescriptorsForAllClients = 22'048;

struct Capability {
  int number;
  const char* name;
};
// What preparing a container takes of root.
constexpr std::array kNeeded{Capability{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
                             Capability{CAP_SETUID, "CAP_SETUID"},
                             Capability{CAP_SETGID, "CAP_SETGID"},
                             Capability{CAP_CHOWN, "CAP_CHOWN"},
                             Capability{CAP_FOWNER, "CAP_FOWNER"},
                             Capability{CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
                             Capability{CAP_KILL, "CAP_KILL"},
                             Capability{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                             Capability{CAP_MKNOD, "CAP_MKNOD"},
                             Capability{CAP_SETPCAP, "CAP_SETPCAP"},
                             Capability{CAP_SYS_CHROOT, "CAP_SYS_CHROOT"}};

std::uint64_t effective_capabilities() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "CapEff:") continue;
    status >> word;
    return std::stoull(word, nullptr, 16);
  }
  return 0;
}

struct Namespace {
  int flag;
  const char* name;
};
constexpr std::array kNamespaces{
    Namespace{CLONE_NEWUSER, "user"},    Namespace{CLONE_NEWNS, "mount"},
    Namespace{CLONE_NEWPID, "PID"},      Namespace{CLONE_NEWIPC, "IPC"},
    Namespace{CLONE_NEWUTS, "UTS"},      Namespace{CLONE_NEWNET, "network"},
    Namespace{CLONE_NEWCGROUP, "cgroup"}};

bool write_to(const char* path, const std::string& text) {
  const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool become_root_of_a_user_namespace() {
  const std::string inside = "0 " + std::to_string(::geteuid()) + " 1";
  const std::string group = "0 " + std::to_string(::getegid()) + " 1";
  return ::unshare(CLONE_NEWUSER) == 0 && write_to("/proc/self/setgroups", "deny") &&
         write_to("/proc/self/uid_map", inside) && write_to("/proc/self/gid_map", group);
}

bool mount_something() {
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("ember", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m") == 0;
}

// In a child, which the namespace ends with: 0 or the errno that forbids it.
int try_namespace(const Namespace& one) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool is_user = one.flag == CLONE_NEWUSER;
    bool made = true;
    // Who is not root must be that of a user namespace first.
    if (is_user || ::geteuid() != 0) made = become_root_of_a_user_namespace();
    if (made && !is_user) made = ::unshare(one.flag) == 0;
    if (made && one.flag == CLONE_NEWNS) made = mount_something();
    ::_exit(made ? 0 : errno);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT;
}

std::string namespace_advice(int error) {
  if (error == ENOSPC) {
    return "raise the limits in /proc/sys/user/max_*_namespaces, which are used up or 0";
  }
  return "allow them: as root, outside of a container that forbids them (kernel.unprivileged_"
         "userns_clone and AppArmor's restrict_unprivileged_userns are for other users)";
}

std::string cgroup_layout() {
  std::ifstream mounts("/proc/self/mounts");
  bool v1 = false, v2 = false;
  for (std::string device, place, kind, rest;
       mounts >> device >> place >> kind && std::getline(mounts, rest);) {
    v1 |= kind == "cgroup";
    v2 |= kind == "cgroup2";
  }
  if (v1 && v2) return "v1, with a v2 hierarchy beside it";
  return v1 ? "v1" : v2 ? "v2" : "";
}

}  // namespace

Finding examine_privileges() {
  constexpr const char* kCheck = "privileges";
  if (::geteuid() != 0) {
    return {Verdict::warning, kCheck,
            "user " + std::to_string(::geteuid()) +
                ": functions run as plain processes, with all that this user may do, without "
                "limits, and with the machine's network",
            "run `ember up` as root to have containers"};
  }
  const std::uint64_t held = effective_capabilities();
  std::string missing;
  for (const Capability& one : kNeeded) {
    if ((held >> one.number & 1) == 0)
      missing += (missing.empty() ? "" : ", ") + std::string(one.name);
  }
  if (missing.empty())
    return {Verdict::ok, kCheck, "root, with all capabilities that it takes", ""};
  return {Verdict::trouble, kCheck, "root, but without " + missing,
          "start Ember where root has them, for example outside of a container"};
}

Finding examine_namespaces() {
  constexpr const char* kCheck = "namespaces";
  std::string made, refused, advice;
  for (const Namespace& one : kNamespaces) {
    const int error = try_namespace(one);
    std::string& list = error == 0 ? made : refused;
    list += (list.empty() ? "" : ", ") + std::string(one.name);
    if (error == 0) continue;
    refused += std::string(" (") + std::strerror(error) + ")";
    advice = namespace_advice(error);
  }
  if (refused.empty()) return {Verdict::ok, kCheck, made + ": all can be made", ""};
  // Others than root run functions as plain processes anyway.
  return {::geteuid() == 0 ? Verdict::trouble : Verdict::warning, kCheck,
          "cannot be made: " + refused, advice};
}

std::vector<Finding> examine_cgroups() {
  constexpr const char* kCheck = "cgroups";
  const std::string layout = cgroup_layout();
  if (layout.empty()) {
    return {{Verdict::warning, kCheck, "none are mounted: no limit of memory, CPU or processes",
             "mount /sys/fs/cgroup"}};
  }
  if (::geteuid() != 0) {
    return {{Verdict::warning, kCheck, "layout " + layout + "; setting limits takes root",
             "run `ember up` as root to have limits"}};
  }
  NodeId id;
  while (!id) {
    if (::getrandom(&id.value, sizeof id.value, 0) != sizeof id.value) id = {};
  }
  const Cgroups cgroups(id);
  cgroups.remove_parents();
  std::vector<Finding> findings;
  for (const std::string& line : cgroups.missing()) {
    findings.push_back({Verdict::warning, kCheck, line,
                        "let Ember make groups there: mount the controller for writing"});
  }
  if (findings.empty()) {
    const std::string swap = cgroups.limits_swap() ? "" : " (but swap is not limited)";
    findings.push_back({Verdict::ok, kCheck,
                        "layout " + layout + "; memory, process and CPU limits work" + swap, ""});
  }
  return findings;
}

Finding examine_descriptors() {
  constexpr const char* kCheck = "open files";
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::string text = "at most " + std::to_string(limit.rlim_max) + " for a process";
  constexpr const char* kAdvice =
      "raise it: `ulimit -Hn 65536`, or LimitNOFILE=65536 in a unit of systemd's";
  if (limit.rlim_max < kFewestDescriptors) {
    return {Verdict::trouble, kCheck, text + ": too few for more than some containers", kAdvice};
  }
  if (limit.rlim_max < kDescriptorsForAllClients) {
    return {Verdict::warning, kCheck, text + ": fewer clients than 20,000 at once", kAdvice};
  }
  return {Verdict::ok, kCheck, text, ""};
}

}  // namespace ember

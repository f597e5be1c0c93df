#include "node/bundle.h"

#include <sys/resource.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "node/seccomp.h"
#include "node/stage.h"

namespace ember {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kPidLimit = 1024;
constexpr std::int64_t kCpuPeriodUs = 100'000;
// What a container asks for is its share when cores are scarce; spare ones it may use beyond that,
// to start fast and to answer fast.
constexpr std::int64_t kSpareMillicores = 16'000;
constexpr std::int64_t kFilesLimit = 65'536;
constexpr std::int64_t kMinScratchBytes = 64 << 20;
constexpr std::int64_t kDriverDirectoryBytes = 64 << 10;  // of mount points
constexpr std::int64_t kEmptyDirectoryBytes = 4 << 10;
constexpr int kMostTerminals = 64;           // the machine has 4096 for all
constexpr std::int64_t kRunBytes = 8 << 20;  // secrets that are files, above all

Json bind_read_only(const std::string& from, const std::string& to) {
  return {{"destination", to},
          {"source", from},
          {"type", "bind"},
          {"options", {"rbind", "ro", "nosuid", "nodev"}}};
}

Json bind(const StagedDirectory& directory) {
  Json mount = bind_read_only(Stage::path(directory.name), directory.destination);
  if (directory.access == MountAccess::read_write) mount["options"][1] = "rw";
  return mount;
}

Json scratch(const std::string& at, const std::string& mode, std::int64_t bytes) {
  return {{"destination", at},
          {"source", "tmpfs"},
          {"type", "tmpfs"},
          {"options", {"nosuid", "nodev", "mode=" + mode, "size=" + std::to_string(bytes)}}};
}

Json mounts(const Bundle& bundle) {
  const std::int64_t scratch_bytes = scratch_space(bundle.resources);
  Json all = Json::array();
  if (bundle.root.has_machine_usr) {
    all.push_back(bind_read_only("/usr", "/usr"));
    // crun (1.8, with a user namespace) binds a tree without what is mounted within it.
    for (const std::string& point : bundle.usr_mounts) all.push_back(bind_read_only(point, point));
  }
  all.push_back({{"destination", "/proc"},
                 {"source", "proc"},
                 {"type", "proc"},
                 {"options", {"nosuid", "noexec", "nodev"}}});
  all.push_back({{"destination", "/dev"},
                 {"source", "tmpfs"},
                 {"type", "tmpfs"},
                 {"options", {"nosuid", "noexec", "strictatime", "mode=755", "size=64k"}}});
  // Terminals of its own: what runs in it may make some, and a shell is given one.
  all.push_back({{"destination", "/dev/pts"},
                 {"source", "devpts"},
                 {"type", "devpts"},
                 {"options",
                  {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
                   "max=" + std::to_string(kMostTerminals)}}});
  all.push_back(scratch("/dev/shm", "1777", scratch_bytes));
  all.back()["options"].push_back("noexec");  // memory to share; programs may lie in /tmp
  if (bundle.root.access == MountAccess::read_only) {
    all.push_back(scratch("/tmp", "1777", scratch_bytes));
    all.push_back(scratch("/root", "0700", scratch_bytes));
  }
  // A builder hands a /sys on to what it runs; the machine's own is no business of theirs.
  if (bundle.privileges == Privileges::of_containers) {
    all.push_back(scratch("/sys", "0555", kEmptyDirectoryBytes));
  }
  all.push_back(scratch("/run", "0755", kRunBytes));
  all.back()["options"].push_back("noexec");
  for (const StagedDirectory& directory : bundle.directories) all.push_back(bind(directory));
  if (!bundle.gpus.libraries.empty()) {
    all.push_back(scratch(kDriverDirectory, "0755", kDriverDirectoryBytes));
  }
  for (const DriverLibrary& library : bundle.gpus.libraries) {
    all.push_back(bind_read_only(Stage::path(staged_name(library)),
                                 std::string(kDriverDirectory) + "/" + library.name));
  }
  for (const StagedVolume& volume : bundle.volumes) {
    const char* access = volume.access == MountAccess::read_only ? "ro" : "rw";
    all.push_back({{"destination", volume.destination},
                   {"source", Stage::path(volume.name)},
                   {"type", "bind"},
                   {"options", {"rbind", access, "nosuid", "nodev"}}});
  }
  return all;
}

// No more than we may have ourselves: raising a limit is a privilege.
std::int64_t files_limit() {
  rlimit ours{};
  ::getrlimit(RLIMIT_NOFILE, &ours);
  return std::min(kFilesLimit, static_cast<std::int64_t>(std::min<rlim_t>(ours.rlim_max, 1 << 30)));
}

// What Docker gives a build, less the raw sockets.
Json capabilities(Privileges privileges) {
  if (privileges == Privileges::none) return Json::object();
  Json names = {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER",           "CAP_FSETID",
                "CAP_KILL",  "CAP_SETGID",       "CAP_SETUID",           "CAP_SETPCAP",
                "CAP_MKNOD", "CAP_SETFCAP",      "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"};
  if (privileges == Privileges::of_containers) {
    names.push_back("CAP_SYS_CHROOT");
    names.push_back("CAP_SYS_ADMIN");
  }
  return {{"bounding", names}, {"effective", names}, {"permitted", names}};
}

// A limit of zero holds for files alone: a core that goes into a program (core_pattern "|...") is
// kept back by one of 1.
constexpr std::int64_t kNoCore = 1;

Json process(const Bundle& bundle) {
  const auto limit = [](const char* type, std::int64_t value) {
    return Json{{"type", type}, {"hard", value}, {"soft", value}};
  };
  Json limits = {limit("RLIMIT_NOFILE", files_limit()), limit("RLIMIT_CORE", kNoCore)};
  if (bundle.processes == ProcessesCounted::by_the_runtime) {
    limits.push_back(limit("RLIMIT_NPROC", kPidLimit));
  }
  return {{"terminal", false},
          {"user", {{"uid", 0}, {"gid", 0}}},
          {"args", bundle.argv},
          {"env", bundle.env},
          {"cwd", bundle.working_directory},
          {"capabilities", capabilities(bundle.privileges)},
          {"noNewPrivileges", true},
          {"rlimits", std::move(limits)}};
}

Json namespaces(const Bundle& bundle) {
  Json all = Json::array();
  for (const char* type : {"pid", "ipc", "uts", "mount", "cgroup", "user"}) {
    all.push_back({{"type", type}});
  }
  using Kind = BundleNetwork::Kind;
  if (bundle.network.kind == Kind::made_before) {
    all.push_back({{"type", "network"}, {"path", bundle.network.path}});
  } else if (bundle.network.kind == Kind::loopback_alone) {
    all.push_back({{"type", "network"}});  // crun makes it, and takes up its loopback
  }
  return all;
}

// Reading and writing, not making others of them.
Json allowed_devices(const Bundle& bundle) {
  Json all = Json::array({Json{{"allow", false}, {"access", "rwm"}}});
  for (const DeviceNode& node : bundle.gpus.nodes) {
    all.push_back({{"allow", true},
                   {"type", "c"},
                   {"major", node.major},
                   {"minor", node.minor},
                   {"access", "rw"}});
  }
  return all;
}

Json device_nodes(const Bundle& bundle) {
  Json all = Json::array();
  for (const DeviceNode& node : bundle.gpus.nodes) {
    all.push_back({{"path", node.path},
                   {"type", "c"},
                   {"major", node.major},
                   {"minor", node.minor},
                   {"fileMode", 0666},
                   {"uid", 0},
                   {"gid", 0}});
  }
  return all;
}

Json limits(const Bundle& bundle) {
  Json all = Json::object();
  all["devices"] = allowed_devices(bundle);
  if (bundle.cgroups.has("memory")) {
    all["memory"] = {{"limit", bundle.resources.memory_bytes}};
    // Of memory and swap together: none of it may be swap.
    if (bundle.cgroups.limits_swap()) all["memory"]["swap"] = bundle.resources.memory_bytes;
  }
  if (bundle.cgroups.has("pids")) all["pids"] = {{"limit", kPidLimit}};
  if (bundle.cgroups.has("cpu")) {
    all["cpu"] = {
        {"period", kCpuPeriodUs},
        {"quota", (bundle.resources.cpu_millicores + kSpareMillicores) * kCpuPeriodUs / 1000},
        {"shares", std::max<std::int64_t>(2, bundle.resources.cpu_millicores * 1024 / 1000)}};
  }
  return all;
}

Json linux_part(const Bundle& bundle) {
  const Json ids =
      Json::array({Json{{"containerID", 0},
                        {"hostID", kFirstContainerUid + bundle.slot * kUidsPerContainer},
                        {"size", kUidsPerContainer}}});
  Json part{{"namespaces", namespaces(bundle)},
            {"uidMappings", ids},
            {"gidMappings", ids},
            {"rootfsPropagation", "private"},
            {"devices", device_nodes(bundle)},
            {"maskedPaths",
             {"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
              "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
              "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"}},
            {"readonlyPaths",
             {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}}};
  if (bundle.cgroups.usable()) {
    part["cgroupsPath"] = bundle.cgroups.path_of(bundle.container);
    part["resources"] = limits(bundle);
  }
  return part;
}

}  // namespace

// Within the container's memory limit, of which it is a part.
std::int64_t scratch_space(const Resources& resources) {
  return std::max(kMinScratchBytes, resources.memory_bytes / 2);
}

std::string staged_name(const DriverLibrary& library) { return "driver-" + library.name; }

std::string config_json(const Bundle& bundle) {
  static const std::string kFilter = seccomp_annotation(SystemCalls::of_user_code);
  static const std::string kBuilderFilter = seccomp_annotation(SystemCalls::of_containers);
  return Json{{"ociVersion", "1.0.0"},
              {"hostname", bundle.container.text()},
              {"root",
               {{"path", Stage::path("rootfs")},
                {"readonly", bundle.root.access == MountAccess::read_only}}},
              {"process", process(bundle)},
              {"mounts", mounts(bundle)},
              {"linux", linux_part(bundle)},
              {"annotations",
               {{"run.oci.seccomp_bpf_data",
                 bundle.privileges == Privileges::of_containers ? kBuilderFilter : kFilter}}}}
      .dump();
}

}  // namespace ember

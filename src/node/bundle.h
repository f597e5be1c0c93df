// The OCI configuration of a container: what crun is told (config.json) of the isolation
// `container` (ARCHITECTURE.md, "Isolation"). Everything it mounts stands on the stage (stage.h) or
// is the machine's /usr.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "node/cgroup.h"
#include "node/gpu_grant.h"
#include "node/idmapped_mount.h"
#include "node/isolation.h"

namespace ember {

// Each container runs as a range of users of its own, so that two never meet in the kernel's eyes.
// The range lies above what systemd and subuid hand out (uid-gid.md of systemd).
inline constexpr std::uint32_t kFirstContainerUid = 0x7000'0000;
inline constexpr std::uint32_t kUidsPerContainer = 65'536;
inline constexpr std::uint32_t kMaxSlots = 4096;
// Of these the last: containers take the ones before, a trial the very last.
inline constexpr std::uint32_t kFirstBuildSlot = kMaxSlots - 16;

struct StagedDirectory {
  std::string name;         // on the stage
  std::string destination;  // in the container
  MountAccess access = MountAccess::read_only;
};

// What the first process may do beyond what every process may, within its own namespaces.
enum class Privileges {
  none,           // user code
  of_a_build,     // owners and modes of files, as installing packages takes
  of_containers,  // mounts and namespaces too, for a builder that runs containers itself
};

// The root stands on the stage as "rootfs".
struct BundleRoot {
  bool has_machine_usr = true;  // the machine's /usr over its own
  MountAccess access = MountAccess::read_only;
};

struct StagedVolume {
  std::string name;         // on the stage
  std::string destination;  // in the container
  MountAccess access = MountAccess::read_only;
};

// Who counts the container's processes for their limit: the machine by its control group, or the
// runtime's own kernel, which the machine cannot look into.
enum class ProcessesCounted { by_the_machine, by_the_runtime };

struct BundleNetwork {
  enum class Kind { of_the_machine, made_before, loopback_alone };
  Kind kind = Kind::of_the_machine;
  std::string path;  // of the namespace that was made before
};

struct Bundle {
  std::vector<std::string> argv, env;
  std::string working_directory = "/root";
  BundleRoot root = {};
  Privileges privileges = Privileges::none;
  const Resources& resources;
  ContainerId container;
  std::uint32_t slot = 0;
  std::vector<StagedDirectory> directories = {};
  std::vector<StagedVolume> volumes = {};
  std::vector<std::string> usr_mounts = {};  // what the machine has mounted within its /usr
  const GpuGrant& gpus;
  BundleNetwork network;
  const Cgroups& cgroups;
  ProcessesCounted processes = ProcessesCounted::by_the_machine;
};

// What a container may write to its own root and scratch directories: memory, counted as its own.
std::int64_t scratch_space(const Resources& resources);

// The name under which a driver's library stands on the stage.
std::string staged_name(const DriverLibrary& library);

std::string config_json(const Bundle& bundle);

}  // namespace ember

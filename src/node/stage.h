// A private mount namespace with chosen files and directories of the machine bound under one
// well-known place, so that a process of another user reaches them whatever stands above them, and
// nothing else changes. Steps between fork and exec; root only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "node/idmapped_mount.h"
#include "node/process_table.h"
#include "node/unique_fd.h"

namespace ember {

inline constexpr const char* kStageRoot = "/mnt";

// Directories over each other, each with its owners shifted alike: a file is that of the topmost
// directory that has it. Written to is `upper` alone, which holds the directories kOverlayFiles and
// kOverlayWork, both of the user that 0 is mapped to; without one, nothing can be written.
struct StagedOverlay {
  std::string name;                 // where it appears
  std::vector<std::string> lowers;  // names on the stage, the lowest first
  std::string upper;                // a name on the stage; may be empty
  std::uint32_t first_id = 0;       // the user that 0 is mapped to
  std::string options = {};         // further ones of the file system's, "a,b=c"
};
inline constexpr const char* kOverlayFiles = "files";
inline constexpr const char* kOverlayWork = "work";

class Stage {
 public:
  // Will appear as kStageRoot/name; a file, if that is what it is. The name is a single component.
  void add(std::string name, std::string host_path);
  // The same for a directory that is open already, whatever mount namespace it came from.
  void add_open_directory(std::string name, UniqueFd directory);
  // The same with its owners shifted by the user namespace (IdMaps), which is borrowed.
  void add_idmapped(std::string name, std::string host_path, int user_namespace,
                    MountAccess access);
  void add_idmapped(std::string name, UniqueFd directory, int user_namespace, MountAccess access);
  // Empty directories, by their paths in it.
  void add_directories(std::string name, std::vector<std::string> paths);
  // An empty file system in memory of so many bytes, prepared to be an overlay's upper.
  void add_upper_in_memory(std::string name, std::int64_t bytes, std::uint32_t first_id);
  // A disk that was made for it (ephemeral_disk.h), prepared to be an overlay's upper.
  void add_disk(std::string name, UniqueFd disk, int user_namespace);
  // Of entries added before it.
  void add_overlay(StagedOverlay overlay);
  static std::string path(const std::string& name) { return std::string(kStageRoot) + "/" + name; }
  // Borrows the stage.
  std::vector<PreparationStep> steps() const;

 private:
  struct Entry {
    std::string name, host_path;
  };
  struct OpenDirectory {
    std::string name;
    UniqueFd directory;
  };
  struct IdmappedDirectory {
    std::string name, host_path;
    int user_namespace;
    MountAccess access;
    UniqueFd directory;  // in place of the path
  };
  struct Directories {
    std::string name;
    std::vector<std::string> paths;
  };
  struct UpperInMemory {
    std::string name;
    std::int64_t bytes;
    std::uint32_t first_id;
  };
  bool clone_trees() const;
  bool clone_idmapped() const;
  bool mount_disks() const;
  bool bind_entries() const;
  bool attach_trees() const;
  bool make_directories() const;
  bool make_uppers() const;
  bool mount_overlays() const;

  std::vector<Entry> entries_;
  std::vector<OpenDirectory> directories_;
  std::vector<IdmappedDirectory> idmapped_;
  std::vector<Directories> made_;
  std::vector<UpperInMemory> uppers_;
  struct Disk {
    std::string name;
    UniqueFd file;
    int user_namespace;
  };
  std::vector<Disk> disks_;
  std::vector<StagedOverlay> overlays_;
  struct Tree {
    std::string name;
    UniqueFd mount;
  };
  mutable std::vector<Tree> trees_;  // mounts of the directories, cloned; in the child alone
};

// The steps, which keep the stage alive as long as whoever holds them.
std::vector<PreparationStep> kept_by(std::shared_ptr<const Stage> stage,
                                     std::vector<PreparationStep> steps);

// Tries it, in a child.
bool can_stage();

}  // namespace ember

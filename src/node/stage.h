// A private mount namespace with chosen files and directories of the machine bound under one
// well-known place, so that a process of another user reaches them whatever stands above them, and
// nothing else changes. Steps between fork and exec; root only.
#pragma once

#include <string>
#include <vector>

#include "node/process_table.h"
#include "node/unique_fd.h"

namespace ember {

inline constexpr const char* kStageRoot = "/mnt";

class Stage {
 public:
  // Will appear as kStageRoot/name; a file, if that is what it is. The name is a single component.
  void add(std::string name, std::string host_path);
  // The same for a directory that is open already, whatever mount namespace it came from.
  void add_open_directory(std::string name, UniqueFd directory);
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
  bool clone_trees() const;
  bool bind_entries() const;
  bool attach_trees() const;

  std::vector<Entry> entries_;
  std::vector<OpenDirectory> directories_;
  mutable std::vector<UniqueFd> trees_;  // the directories' mounts, cloned; in the child alone
};

// Tries it, in a child.
bool can_stage();

}  // namespace ember

// The one command of uv that builds a layer: wheels alone, so that no code of a package runs.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/process_table.h"

namespace ember {

// Where `uv` is: the path itself, or the first of that name on PATH.
std::optional<std::string> find_program(const std::string& name);

struct UvInstall {
  std::string uv;
  std::vector<std::string> packages;
  std::string target;  // made anew
  std::string cache;
  int output = -1;
};

// Makes target and cache, owned by the user the build will run as: one of its own where we are
// root, else ours.
Result<Command> uv_install(const UvInstall& install);

// The variables of uv that carry this machine's package index, from uv's own environment, pip's,
// and pip's files, in that order. NAME=value.
std::vector<std::string> index_settings();

// The errno with which the disk refused what uv wrote, if its last lines tell of one.
std::optional<int> uv_disk_error(const std::deque<std::string>& lines);

// What to do next, from uv's last lines.
std::string uv_hint(const std::deque<std::string>& lines);

}  // namespace ember

// The one command of uv that builds a layer: wheels alone, so that no code of a package runs.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "node/process_table.h"
#include "node/unique_fd.h"

namespace ember {

// Where `uv` is: the path itself, or the first of that name on PATH.
std::optional<std::string> find_program(const std::string& name);

struct UvInstall {
  std::string uv;
  std::vector<std::string> packages;
  std::vector<std::string> constraints;  // "numpy==2.1.0": what other layers have
  std::string directory;  // holds uv's cache and, beside it, what is made: one file system, so that
                          // files of the cache are in the layer without a second copy
  std::string target;     // a name for what is made
  bool no_deps = false;   // these packages alone
  std::string python_version;  // "3.12"; empty: that of the machine's own
  std::string libc;            // "glibc 2.36", "musl"; of that Python
  int output = -1;
};

// Beside the layers, so that packages become one by a rename.
std::string uv_directory(const std::string& node_directory);

// Where the packages will be.
std::string uv_target(const UvInstall& install);

// Makes directories, owned by the user the build will run as: one of its own where we are root,
// else ours.
Result<Command> uv_install(const UvInstall& install);

// A program of this machine's that fetches for a build, as the same user.
struct BuilderRun {
  std::vector<std::string> argv, env;  // argv[0] is a path
  std::string written =
      "";                 // host directory, made anew and seen at Stage::path("out"); empty: none
  std::string read = "";  // host directory seen at Stage::path("in"); empty: none
  std::shared_ptr<const UniqueFd> credentials = {};  // may be read at credentials_path() then
  int output = -1;
};
// "/proc/self/fd/7"; empty where there are none.
std::string credentials_path(const BuilderRun& run);
Result<Command> as_builder(const BuilderRun& run);

// The name of the package that a requirement asks for, as indexes compare names.
std::string normal_package_name(std::string_view requirement);

// The variables of uv that carry this machine's package index, from uv's own environment, pip's,
// and pip's files, in that order. NAME=value.
std::vector<std::string> index_settings();

// The errno with which the disk refused what a program wrote, if its last lines tell of one.
std::optional<int> disk_refusal(const std::deque<std::string>& lines);

// What to do next, from uv's last lines.
std::string uv_hint(const std::deque<std::string>& lines);

}  // namespace ember

// An image as it lies on this node, ready for containers.
#pragma once

#include <string>
#include <vector>

#include "model/environment.h"

namespace ember {

inline constexpr const char* kPython = "/usr/bin/python3";

struct BuiltImage {
  std::vector<std::string> layers;    // by name: what must stay while a container of it lives
  bool on_host = true;                // its root stands on the machine's own /usr
  std::vector<std::string> root;      // host directories, to lay over each other, the lowest first
  std::vector<std::string> packages;  // host directories of Python packages, the first step's first
  Environment env;                    // of the base and the steps; later entries win
  std::string python = kPython;       // in the image
  std::string working_directory;      // in the image; empty: the home
  std::vector<std::string> entrypoint;  // gets the runner's command as its arguments

  // Whether containers see more than the machine's /usr and packages beside it.
  bool has_own_root() const { return !on_host || !root.empty(); }
};

}  // namespace ember

// A program that is run often, kept as it was when the node began: in memory that nobody can write.
#pragma once

#include <memory>
#include <string>

#include "node/unique_fd.h"

namespace ember {

struct Program {
  std::string path;
  // Its bytes, sealed; none where this kernel gives no such memory: it is run from its path then.
  std::shared_ptr<const UniqueFd> sealed = {};
};

// A runtime enters containers, which could write to its file through /proc; so crun runs a copy of
// itself, made anew each time, unless what runs is sealed already (CVE-2019-5736). One copy, made
// here, spares each start the copying and a second exec.
Program keep_in_memory(std::string path);

}  // namespace ember

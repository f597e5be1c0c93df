// The class of isolation `container`: each runner under crun, in namespaces and a range of users of
// its own, with a read-only root, no capabilities, a seccomp filter and what limits the machine
// has.
#pragma once

#include <memory>

#include "node/oci_isolation.h"

namespace ember {

std::unique_ptr<Isolation> make_crun_isolation(ProcessTable& processes, OciSetup setup);

}  // namespace ember

// The class of isolation `gvisor`: each runner under a kernel of its own in user space, runsc's
// sandbox, which itself runs without privileges. The machine sees of it that sandbox and what opens
// files for it, the gofer; never the processes within.
#pragma once

#include <memory>

#include "node/oci_isolation.h"

namespace ember {

std::unique_ptr<Isolation> make_runsc_isolation(ProcessTable& processes, OciSetup setup);

}  // namespace ember

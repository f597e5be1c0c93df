// Puts another overlay in the place of a volume in a container that runs: the last steps of a
// child that has set the stage (stage.h). The child ends in them and executes nothing: what it
// would find there is the container's.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "node/process_table.h"

namespace ember {

// How such a child ends.
inline constexpr int kRemounted = 0;
inline constexpr int kVolumeBusy = 16;  // files of the volume are open, and all is as it was

// `staged` is the overlay's name on the stage, `path` where the container has the volume. `init` is
// a process of the container that lives, in whose mount namespace that is.
std::vector<PreparationStep> remount_steps(pid_t init, std::string staged, std::string path);

}  // namespace ember

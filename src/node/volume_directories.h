// The directories of volumes as a driver names them: opened and checked before any is mounted.
#pragma once

#include <string>
#include <vector>

#include "node/node_client.h"
#include "node/unique_fd.h"

namespace ember {

// Empty, with errno, where it is none, lies elsewhere or a link leads there.
UniqueFd open_directory_beneath(int directory, const std::string& path);

// That they are where volumes may be in a container, and few enough.
Result<> check_volumes(const std::vector<VolumeOverlay>& volumes);

}  // namespace ember

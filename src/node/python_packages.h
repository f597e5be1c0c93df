// The packages every runner imports, copied and compiled once. Containers mount them read-only, so
// without this each start would compile them anew; and a container goes on with the copy it began
// with while the original changes.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "node/node_options.h"

namespace ember {

// Copies each to <node_directory>/packages/<digest of its files>/<name>, unless it is there.
Result<std::vector<PythonDirectory>> prepare_packages(const std::string& node_directory,
                                                      const std::vector<PythonDirectory>& packages);

}  // namespace ember

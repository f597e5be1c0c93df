// A workspace is a tenant: it owns apps and keys.
#pragma once

#include "model/ids.h"

namespace ember {

struct WorkspaceIdTag {
  static constexpr std::string_view kPrefix = "ws";
};
using WorkspaceId = Id<WorkspaceIdTag>;

// The one that a server has from its first start.
inline constexpr WorkspaceId kDefaultWorkspace{1};

}  // namespace ember

// What the node and the runner are told of a container.
#pragma once

#include <string>

#include "control/app_catalog.h"
#include "node/node_client.h"

namespace ember {

ContainerSpec container_spec(ContainerId container, const Function& function,
                             std::vector<DeviceId> devices);

}  // namespace ember

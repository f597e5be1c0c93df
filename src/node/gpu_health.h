// What speaks against a device.
#pragma once

#include <optional>
#include <string>

#include "node/nvml.h"

namespace ember {

// Why the device must not be used any more; nothing where the event says nothing against it.
std::optional<std::string> cordon_reason(const GpuEvent& event);

}  // namespace ember

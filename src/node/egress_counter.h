// What has left a network namespace, as the kernel counts it: the bytes that its interfaces have
// transmitted, headers and all. What stays on the namespace's loopback has not left it.
#pragma once

#include <cstdint>
#include <string>

namespace ember {

// From the text of the namespace's /proc/net/dev; lines of another form count nothing.
std::int64_t transmitted_bytes(const std::string& net_dev);

}  // namespace ember

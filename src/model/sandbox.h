// What a function asks of the sandbox around its containers, beside what the engine weighs.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "model/network_policy.h"

namespace ember {

// By what a container is kept apart from the machine; each named by what it stops.
enum class IsolationClass {
  of_the_node,  // whichever the node has
  container,    // the kernel's own walls
  gvisor,       // a kernel of its own, in user space
};

struct SandboxSettings {
  NetworkPolicy network = {};
  IsolationClass isolation = IsolationClass::of_the_node;
  std::int64_t ephemeral_disk_bytes = 0;  // to write to, on disk; 0: scratch space in memory alone
};

// "" is of_the_node.
std::string_view isolation_class_name(IsolationClass isolation);
// The refusal says which names there are.
Result<IsolationClass> parse_isolation_class(std::string_view text);

Result<> check_ephemeral_disk(std::int64_t bytes);

}  // namespace ember

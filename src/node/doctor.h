// Whether this machine can be a node, found out by trying: what a node needs, a line for each, and
// what to do about what is missing. Works beside a running node and without one, as any user.
#pragma once

#include <vector>

#include "base/finding.h"
#include "node/node_options.h"

namespace ember {

// `options` as a node would get them. What is tried leaves nothing behind.
std::vector<Finding> examine_machine(const NodeOptions& options);

// Its parts, in files of their own.
Finding examine_privileges();
Finding examine_namespaces();
std::vector<Finding> examine_cgroups();
std::vector<Finding> examine_disks(const std::string& data);
std::vector<Finding> examine_clock(const std::string& data);
Finding examine_descriptors();
std::vector<Finding> examine_programs(const NodeOptions& options);
std::vector<Finding> examine_gpus(const NodeOptions& options);

}  // namespace ember

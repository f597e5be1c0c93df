// How a node is set up: what `emberd node` reads from its command line.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "node/closed_networks.h"

namespace ember {

// A package directory of this machine that every container finds on its Python path.
struct PythonDirectory {
  std::string host_path;  // ".../python/ember"
  std::string name;       // "ember"
};

enum class IsolationChoice { automatic, container, process };
// Of the mechanism that gives containers a network of their own; a named one or none.
enum class NetworkChoice { automatic, veth, slirp4netns };

struct NodeOptions {
  std::string data;           // the data directory; the node's own part is data/node
  std::string name;           // shown to people; empty: the host's name
  std::string simulate_gpus;  // "L4:2,H100:1"
  std::string nvml_library = "libnvidia-ml.so.1";  // comes with NVIDIA's driver
  std::string dev_directory = "/dev";              // where programs open the devices
  std::vector<PythonDirectory> python;
  IsolationChoice isolation = IsolationChoice::automatic;
  bool allow_process = false;  // fall back to `process` where containers are not to be had
  NetworkChoice network = NetworkChoice::automatic;
  std::optional<Ipv4Network> container_range;  // of their addresses; nothing: one that is free
  std::vector<Ipv4Network> allowed_networks;   // that containers may send to, though closed to them
  std::string runsc = "runsc";                 // gVisor's runtime, by name or path
  std::string py_spy = "py-spy";               // the same; what tells what Python is doing
  std::string uv = "uv";                       // the program, by name or path
  std::int64_t cpu_millicores = 0;             // 0: what the machine has
  std::int64_t memory_bytes = 0;               // 0: what the machine has
  uid_t driver_uid = 0;  // who else than root and this process's user may drive the node
};

}  // namespace ember

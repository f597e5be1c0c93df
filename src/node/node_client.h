// What control needs of a node: the seam between the two processes. RemoteNode (remote_node.h)
// speaks it over the node's Unix socket; tests use a fake.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/environment.h"
#include "model/exec.h"
#include "model/function.h"
#include "model/ids.h"
#include "model/image.h"
#include "model/node.h"
#include "model/sandbox.h"
#include "node/unique_fd.h"

namespace ember {

// What a container sees of a volume: directories over each other, by their paths beneath the
// directory of the driver's volumes.
struct VolumeOverlay {
  std::string path;                 // in the container
  std::vector<std::string> lowers;  // the lowest first
  std::string upper;  // where it writes: holds "files" and "work"; empty: nothing can be written
};

struct ContainerSpec {
  ContainerId container;
  ImageSpec image;  // must have been built
  Resources resources;
  std::vector<DeviceId> devices;
  Environment env;
  SandboxSettings sandbox;
  std::vector<VolumeOverlay> volumes;
  std::string function_json;  // what the runner reads at /ember/run/function.json
  std::string labels_json;    // kept by the node and given back when containers are adopted
};

// A container as the node finds it when a driver connects.
struct SurvivingContainer {
  ContainerId container;
  std::string labels_json;
  std::vector<DeviceId> devices;
  Time started;
  std::int64_t egress_bytes = 0;  // that have left its network namespace so far
};

struct ContainerExit {
  ContainerId container;
  std::string labels_json;
  Time started, at;
  std::vector<DeviceId> devices;
  std::int64_t egress_bytes = 0;  // that left its network namespace in all its life
  bool out_of_memory = false;
  std::int64_t gpu_used_bytes = 0;  // of its device, where it was ended for more than its share
  std::string fault;                // of the node's, for which it ended the container; empty: none
  int exit_status = -1;             // of the runner; -1 where nobody could see it
  int signal = 0;                   // that ended it
  std::string last_output;          // the last lines the runner's process wrote outside frames
};

struct NodeHello {
  std::string name;
  NodeId node;  // kept by the node over restarts
  NodeCapacity capacity;
  std::string isolation;             // "container" or "process"
  std::string no_gvisor;             // why functions cannot have that isolation; empty: they can
  std::string network;               // how containers reach out, one line for `ember status`
  std::vector<std::string> missing;  // limits this machine does not allow, one line each
  std::vector<SurvivingContainer> containers;
};

// What a driver asks of a node's images.
struct ImageQuery {
  std::uint64_t query = 0;  // the driver's own number, which the answer repeats
  enum class Kind { list, log, prune } kind = Kind::list;
  std::vector<ImageSpec> images = {};  // log: the one; prune: those to keep
  std::int64_t max_bytes = 0;          // prune: of all layers together
  Time unused_since = {};              // prune: layers not used since then go
};

// What an exec'd process speaks by: a terminal, or three pipes.
enum class ExecStream : std::uint8_t { terminal, input, output, errors };

// What may be asked about a container's processes: which there are, and what its runner's Python
// threads are doing. Both answers are JSON.
enum class ProcessQuery : std::uint8_t { processes, stacks };

// What a driver has a node build.
struct BuildOrder {
  std::string name;  // the image's id, or another under which the node tells of it
  ImageSpec spec;
  std::string push_to = {};  // the reference to push it to then; empty: nowhere
  UniqueFd sources =
      {};  // the directory (O_PATH) of what its steps name; may be empty where none do
  UniqueFd credentials = {};  // for the registry, as Docker's config.json; empty: it asks for none
};

class NodeObserver {
 public:
  virtual ~NodeObserver() = default;
  virtual void on_hello(NodeHello hello) = 0;  // also after each reconnect
  virtual void on_lost() = 0;                  // the connection broke; it is tried again
  virtual void on_started(ContainerId container, Time at) = 0;
  virtual void on_refused(ContainerId container, std::string why) = 0;
  // What has left the container's network namespace so far; comes while that grows, seconds late,
  // and not at all where the machine does not meter it.
  virtual void on_egress(ContainerId container, std::int64_t total_bytes) = 0;
  // All of the node's devices, since one of them stands otherwise than before, and what is missing
  // by now.
  virtual void on_devices(std::vector<Device> devices, std::vector<std::string> missing) = 0;
  virtual void on_exited(ContainerExit exit) = 0;  // repeated after reconnects until acknowledged
  // A runner connected. May come again for the same container when it has lost its old connection.
  virtual void on_runner(ContainerId container, UniqueFd socket) = 0;
  // Conflict where files of the volume are open. Never comes if the connection breaks before.
  virtual void on_remounted(ContainerId container, std::string path, Result<> result) = 0;
  virtual void on_build_line(std::string image_id, std::string line) = 0;
  virtual void on_built(std::string image_id, Result<> result) = 0;
  // To a query of ask_images(): a JSON document of image_queries.h.
  virtual void on_image_answer(std::uint64_t query, Result<std::string> document) = 0;
  // One end of what the process speaks by: the terminal, or input, output and errors one by one.
  virtual void on_exec_stream(ExecId exec, ExecStream stream, UniqueFd file) = 0;
  // It has ended, or was never run. Once, the last of it; also when the connection broke.
  virtual void on_exec_ended(ExecId exec, Result<ExecExit> exit) = 0;
  virtual void on_inspected(std::uint64_t question, Result<std::string> answer) = 0;  // once
};

class NodeClient {
 public:
  virtual ~NodeClient() = default;
  virtual void set_observer(NodeObserver* observer) = 0;  // borrowed; called on the loop's thread
  // `source` is a directory (O_PATH) mounted read-only at /source; may be empty.
  virtual void start(ContainerSpec spec, UniqueFd source) = 0;
  // Ends it: SIGTERM, then SIGKILL after the grace; a grace of zero kills at once.
  virtual void stop(ContainerId container, Duration grace) = 0;
  // Sends SIGUSR1 to the runner: it looks at its socket for a Cancel.
  virtual void interrupt(ContainerId container) = 0;
  virtual void acknowledge_exit(ContainerId container) = 0;
  // Puts another overlay in the place of the volume that a container has at that path.
  virtual void remount(ContainerId container, VolumeOverlay volume) = 0;
  // Builds the image, or finds it built. Lines and the end come by the observer.
  virtual void build(BuildOrder order) = 0;
  virtual void ask_images(ImageQuery query) = 0;
  // Runs a process in the container, under the container's own limits; the streams and the end come
  // by the observer.
  virtual void exec(ExecId exec, ContainerId container, ExecSpec spec) = 0;
  // Nobody wants it any more: SIGHUP for its session, then SIGKILL.
  virtual void end_exec(ExecId exec) = 0;
  virtual void inspect(std::uint64_t question, ContainerId container, ProcessQuery what) = 0;
};

// The content address of an image: "im-" and 32 hex digits of SHA-256 over its canonical JSON.
std::string image_id(const ImageSpec& spec);

}  // namespace ember

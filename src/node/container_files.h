// What a node keeps on disk of each container, under <data>/node/containers/<id>/:
//
//   meta.json      who it is and what it holds: written before anything is started
//   pid            the runner's pid and start time, once there is one
//   network        by what its maker knows it (network_maker.h), where it has one of its own
//   destinations   a line each, where its network leads to listed ones alone
//   run/           seen by the container: runner.sock, function.json
//   home/          working directory and scratch space where there is no sandbox
//   output         what the runner's process writes outside frames
//   output.pipe    by which that comes from a container, which so holds no file of the machine's
//   exit.json      how it ended: written before it is reported, kept until acknowledged
#pragma once

#include <sys/types.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/node_client.h"
#include "node/unique_fd.h"

namespace ember {

struct ContainerMeta {
  ContainerId container;
  std::string labels_json;
  std::vector<DeviceId> devices;
  Time started;
  Resources resources;                   // cpu and memory alone
  std::string isolation;                 // of its start; a later life of the node may use another
  std::uint32_t slot = 0;                // its own range of user ids
  std::vector<std::string> layers = {};  // of its image, by name
};

struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;
};

class ContainerFiles {
 public:
  ContainerFiles(const std::string& node_directory, ContainerId container);

  const std::string& directory() const { return directory_; }
  std::string run_directory() const { return directory_ + "/run"; }
  std::string home_directory() const { return directory_ + "/home"; }
  std::string socket_path() const { return directory_ + "/run/runner.sock"; }
  std::string output_path() const { return directory_ + "/output"; }
  std::string pipe_path() const { return directory_ + "/output.pipe"; }
  std::string pid_path() const { return directory_ + "/pid"; }

  // Makes the directories, meta.json and function.json.
  Result<> create(const ContainerMeta& record, const std::string& function_json) const;
  Result<> write_runner(const ProcessIdentity& runner) const;
  Result<> write_network(const std::string& record) const;
  Result<> write_destinations(const std::vector<std::string>& destinations) const;
  // Writes exit.json, on disk for good when it returns, and leaves nothing else. Where the disk
  // takes no writes it frees what it can and tries again; then meta.json and pid stay, and a later
  // life of the node tells of an end by them.
  Result<> keep_exit(const ContainerExit& exit) const;

  Result<ContainerMeta> read_record() const;
  // The runner, if it was started; it may have ended since.
  std::optional<ProcessIdentity> read_runner() const;
  std::optional<std::string> read_network() const;
  // As listed_destinations() takes them; nothing where the network was not narrowed down.
  std::optional<std::vector<std::string>> read_destinations() const;
  std::optional<ContainerExit> read_exit() const;
  // The last bytes of the output, whole lines where it was cut.
  std::string last_output(std::size_t at_most) const;

  // Makes the pipe; the container's end of it. Who writes more than is taken in has to wait.
  Result<UniqueFd> make_output_pipe() const;
  // The node's end: as long as it is open what is in the pipe stays. Empty where there is no pipe.
  UniqueFd hold_output() const;
  // Takes some of what is in the pipe in, and cuts an output over the limit down to its end.
  void take_output() const;

  // Leaves nothing but exit.json.
  void remove_all_but_exit() const;
  void remove() const;

 private:
  void remove_all_but(const std::set<std::string>& kept) const;
  void empty_pipe(std::size_t at_most) const;

  std::string directory_;
};

// Those that have a directory, by id.
std::vector<ContainerId> containers_on_disk(const std::string& node_directory);

// Writes beside and renames, so that a reader sees the old text or the new.
enum class Durable { no, yes };
Result<> write_file(const std::string& path, const std::string& text, mode_t mode,
                    Durable durable = Durable::no);
std::optional<std::string> read_file(const std::string& path);

}  // namespace ember

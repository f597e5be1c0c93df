// Volumes in containers: which version each sees, and how what it writes gets into the next ones.
// A container writes to a directory of the store's own (volume_upper.h), by way of the node; it is
// looked through when the container asks for a commit, every few seconds, and when the container
// has ended. The directories are on disk: a server that starts anew goes on with them, and commits
// what containers have left that ended meanwhile.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "control/volume_upper.h"
#include "control/volumes.h"
#include "node/node_client.h"

namespace ember {

class VolumeMounts {
 public:
  // With the number of the newest version.
  using Done = std::function<void(Result<std::uint32_t>)>;

  VolumeMounts(EngineDriver& driver, Volumes& volumes, NodeClient& node)
      : driver_(driver), volumes_(volumes), node_(node) {}

  // At start, before the node is met: what containers have from before.
  void restore();

  // For a container that is about to start: the versions that it is to see.
  Result<std::vector<VolumeOverlay>> mount(ContainerId container,
                                           const std::vector<VolumeMount>& wanted);
  // No process of it is left, or it never was: commits what it wrote. Again and again, until the
  // disk takes it.
  void ended(ContainerId container);
  // Of all containers that there are not: `lives` says of which there are.
  void end_all_but(const std::function<bool(ContainerId)>& lives);

  void commit(ContainerId container, std::string_view volume, Done done);

  // Commits what was written, then has the newest version mounted in the place of the one that is.
  void reload(ContainerId container, std::string_view volume, Done done);
  void on_remounted(ContainerId container, const std::string& path, const Result<>& result);
  // Which of the two a container has that was about to get another is not known: both are kept.
  void on_node_lost();

  // Whether all that containers have left is in a version, or stays on disk for the next server.
  bool is_settled() const;

 private:
  struct Mount {
    ContainerId container;
    std::size_t number = 0;
    VolumeId volume;
    std::string volume_name;
    std::string path;  // in the container
    std::string sub_path;
    std::uint32_t version = 0;           // that it stays at; 0: the newest, at a reload
    LayerNames layers;                   // held
    std::shared_ptr<VolumeUpper> upper;  // shared with the work on it; null: nothing can be written
    bool busy = false;
    bool has_ended = false;
    bool is_stuck = false;      // the disk takes not what its container has left; tried again
    std::vector<Done> waiting;  // for the next commit
  };
  using Key = std::pair<ContainerId, std::size_t>;

  struct Reload {
    Key before, after;
    Done done;
  };

  Mount* find(ContainerId container, std::string_view volume);
  void remount(const Key& key, Done done);
  Result<VolumeOverlay> mount_one(Mount& mount, const VolumeMount& wanted);
  Result<std::vector<std::string>> lowers_of(const LayerNames& layers,
                                             const std::string& sub_path) const;
  Result<> write_down(const Mount& mount) const;
  void restore_one(const std::string& directory);
  std::string directory_of(const Mount& mount) const;
  void add(Mount mount);
  void drop(const Key& key);
  Mount* find(const Key& key);

  void look(const Key& key, UpperLook how);
  void publish(const Key& key, std::vector<Done> done, UpperLook how);
  void settle(const Key& key, const std::vector<Done>& done, UpperLook how,
              Result<Volumes::Published> published);
  void finish(const Key& key, const std::vector<Done>& done, UpperLook how,
              const Result<std::uint32_t>& result);
  void look_now_and_then();
  std::uint32_t newest_of(const Mount& mount);

  EngineDriver& driver_;
  Volumes& volumes_;
  NodeClient& node_;
  std::map<Key, Mount> mounts_;
  std::map<std::pair<ContainerId, std::string>, Reload> reloads_;  // by path
  // Of reloads, over all containers: the directory of one that failed is still being removed.
  std::size_t newest_number_ = 0;
  bool looking_ = false;  // now and then
};

}  // namespace ember

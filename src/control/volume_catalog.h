// The volumes that there are, their versions, and which layers somebody needs.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control/json.h"
#include "control/volume_tree.h"
#include "store/store.h"

namespace ember {

// Ember's own, of the calls whose functions have checkpoints: no user's volume can bear its name.
// Only its newest version is kept.
inline constexpr std::string_view kCheckpointsVolume = "ember:checkpoints";

struct Volume {
  VolumeRecord record;
  std::map<std::uint32_t, VolumeVersionRecord> versions;
  Time lease_ends = Time::never();  // of an ephemeral one
  bool merging = false;

  const std::string& name() const { return record.name; }
  // The newest; nothing has been put where its number is 0.
  VolumeVersionRecord newest() const;
};

LayerNames split_layers(const std::string& names);
std::string join_layers(const LayerNames& names);

class VolumeCatalog {
 public:
  void restore(const Snapshot& snapshot);

  Volume* find(VolumeId id);
  Volume* find(std::string_view name);
  const Volume* find(std::string_view name) const;
  static Error no_such(std::string_view name);
  // 0: the newest.
  Result<VolumeVersionRecord> version(std::string_view name, std::uint32_t version) const;

  Volume& add(const VolumeRecord& record);
  void remove(VolumeId id);
  const std::map<std::string, VolumeId, std::less<>>& names() const { return names_; }

  // Layers of trees that are looked at or mounted, or are on their way.
  void hold(const LayerNames& layers);
  void let_go(const LayerNames& layers);
  // These, and those of all versions.
  std::set<std::string> needed_layers() const;

  std::string list_json() const;
  std::string history_json(const Volume& volume) const;

 private:
  std::map<VolumeId, Volume> volumes_;
  std::map<std::string, VolumeId, std::less<>> names_;
  std::multiset<std::string> held_;
};

JsonValue to_json(const Volume& volume);

}  // namespace ember

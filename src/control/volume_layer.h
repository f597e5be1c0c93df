// A new layer on top of a tree: what one commit changes, and nothing else. Built beneath tmp/, made
// durable, then given its name; until a version is recorded that has it, nobody sees it.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "control/volume_blobs.h"
#include "control/volume_tree.h"
#include "model/volume.h"

namespace ember {

class LayerBuilder {
 public:
  // Borrows both. `below` is what the layer will lie on.
  LayerBuilder(VolumeBlobs& blobs, const VolumeTree& below) : blobs_(blobs), below_(below) {}
  ~LayerBuilder();
  LayerBuilder(const LayerBuilder&) = delete;
  LayerBuilder& operator=(const LayerBuilder&) = delete;

  const VolumeTree& below() const { return below_; }

  // Later changes lie over earlier ones. Paths are checked (check_volume_path). What is so already
  // is no change.
  Result<> put_file(const std::string& path, const StoredFile& file);
  Result<> put_link(const std::string& path, const std::string& target);
  Result<> put_directory(const std::string& path);
  Result<> remove(const std::string& path);
  // Makes `to` what `from` is. `from` is looked for in what this layer lies on.
  Result<> copy(const std::string& from, const std::string& to);

  // Counted against what lies below.
  struct Change {
    std::int64_t entries = 0;  // of the layer: 0 for no change at all
    TreeTotals totals;         // that come, less those that go
  };
  Result<Change> measure() const;
  // Durable under its name when it returns.
  Result<> publish(const std::string& layer_name);

 private:
  Result<> begin();
  // The directory within the layer that is to hold an entry, with all above it.
  Result<UniqueFd> make_parent(const std::string& path);
  Result<> make_directory(const std::string& path);
  Result<> hide(int directory, const std::string& path);
  Result<> clear(int directory, const std::string& path);
  Result<> link_from_below(const std::string& from, const TreeNode& node, const std::string& to);
  Result<bool> is_hidden(const std::string& path) const;
  Result<bool> is_touched(const std::string& path) const;
  Result<> measure_directory(const std::string& path, Change& change) const;
  Result<> sync_tree(const std::string& path);
  std::string shown(const std::string& path) const;

  VolumeBlobs& blobs_;
  const VolumeTree& below_;
  std::string name_;  // of its directory beneath the store's root, while it is not published
  UniqueFd directory_;
};

}  // namespace ember

// Several layers that lie over each other, as one of the same effect: so that a tree that many
// commits have changed stays few layers deep.
#pragma once

#include <string>

#include "control/volume_blobs.h"
#include "control/volume_tree.h"

namespace ember {

// Layers of a tree, the lowest first, and how many entries each has.
struct MergePlan {
  std::size_t first = 0;  // those from here on become one; the size of the list: nothing to do
};
MergePlan plan_merge(const std::vector<std::int64_t>& entries);

// `merged` lie on `below`; durable under its name when it returns. Hard links alone.
Result<> merge_layers(VolumeBlobs& blobs, const LayerNames& below, const LayerNames& merged,
                      const std::string& layer_name);

// Of a layer, at most so many.
Result<std::int64_t> count_entries(int root, const std::string& layer_name, std::int64_t at_most);

}  // namespace ember

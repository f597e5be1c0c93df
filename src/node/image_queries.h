// What this node's images are, as documents.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/layer_store.h"
#include "node/node_client.h"

namespace ember {

// {"images": [{"image_id", "spec", "bytes", "used_us", "layers": [{"layer", "title", "bytes",
// "built_us", "took_us"}]}], "layers_bytes"}
std::string images_document(const LayerStore& layers);
// {"log"}: of all its layers, in their order. not_found: it is not built.
Result<std::string> log_document(const LayerStore& layers, const ImageSpec& image);
// {"freed_bytes", "removed_images": [id]}; keeps the images that the query names. The directories
// that are to be removed now are added to `trash`.
Result<std::string> prune_document(const LayerStore& layers, const ImageQuery& query,
                                   std::set<std::string> kept, std::vector<std::string>& trash);

}  // namespace ember

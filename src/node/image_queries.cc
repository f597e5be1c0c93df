#include "node/image_queries.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "node/node_messages.h"

namespace ember {
namespace {

using Json = nlohmann::json;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json layer_json(const LayerStore::Entry& entry) {
  return {{"layer", entry.layer},
          {"title", entry.facts.title},
          {"bytes", entry.facts.bytes},
          {"built_us", entry.facts.built.us},
          {"took_us", entry.facts.took.us}};
}

}  // namespace

std::string images_document(const LayerStore& layers) {
  std::map<std::string, LayerStore::Entry> by_name;
  std::int64_t layers_bytes = 0;
  for (LayerStore::Entry& entry : layers.list()) {
    layers_bytes += entry.facts.bytes;
    by_name.emplace(entry.layer, std::move(entry));
  }
  Json images = Json::array();
  for (const ImageSpec& spec : layers.images()) {
    Json of_image = Json::array();
    std::int64_t bytes = 0, used_us = 0;
    for (const LayerPlace& place : layer_places(spec)) {
      const auto found = by_name.find(place.name);
      if (found == by_name.end()) continue;
      bytes += found->second.facts.bytes;
      used_us = std::max(used_us, found->second.used.us);
      of_image.push_back(layer_json(found->second));
    }
    images.push_back({{"image_id", image_id(spec)},
                      {"spec", Json::parse(canonical_json(spec), nullptr, false)},
                      {"bytes", bytes},
                      {"used_us", used_us},
                      {"layers", std::move(of_image)}});
  }
  return dump({{"images", std::move(images)}, {"layers_bytes", layers_bytes}});
}

Result<std::string> log_document(const LayerStore& layers, const ImageSpec& image) {
  std::string log;
  for (const LayerPlace& place : layer_places(image)) {
    const auto of_layer = layers.log(place.name);
    if (!of_layer) return {ErrorCode::not_found, "the image is not built on this node"};
    log += *of_layer;
  }
  return dump({{"log", log}});
}

Result<std::string> prune_document(const LayerStore& layers, const ImageQuery& query,
                                   std::set<std::string> kept, std::vector<std::string>& trash) {
  std::set<std::string> kept_images;
  for (const ImageSpec& image : query.images) {
    kept_images.insert(image_id(image));
    for (const LayerPlace& place : layer_places(image)) kept.insert(place.name);
  }
  LayerStore::Pruned pruned = layers.prune(kept, query.max_bytes, query.unused_since);
  trash.insert(trash.end(), pruned.directories.begin(), pruned.directories.end());
  return dump({{"freed_bytes", pruned.bytes},
               {"removed_images", layers.forget(kept_images, query.unused_since)}});
}

}  // namespace ember

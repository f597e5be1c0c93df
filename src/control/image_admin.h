// The node's images for people to look at and to manage: lists, logs, pruning, pushing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "control/app_catalog.h"
#include "control/engine_driver.h"
#include "control/image_builds.h"
#include "node/node_client.h"

namespace ember {

class ImageAdmin {
 public:
  ImageAdmin(EngineDriver& driver, NodeClient& node, ImageBuilds& builds, const AppCatalog& catalog)
      : driver_(driver), node_(node), builds_(builds), catalog_(catalog) {}

  using Done = Control::Done;
  // Documents of docs/reference/http.md.
  void list(Done done);
  void log(std::string image, Done done);
  // The body: {"max_bytes", "unused_ms"}, each at will. Images of deployed apps stay.
  void prune(const std::string& request_json, Done done);
  // The body: {"reference"}. Lines and the end as of a build.
  void push(std::string image, const std::string& request_json,
            std::shared_ptr<BuildObserver> observer);
  // What is long unused, or beyond the room that layers may take, goes: now, and from then on each
  // hour.
  void keep_tidy();

  // --- what the node says ---
  void on_answer(std::uint64_t query, Result<std::string> document);

 private:
  void ask(ImageQuery query, Done done);
  void find(std::string image, std::function<void(Result<ImageSpec>)> done);
  std::vector<ImageSpec> images_in_use() const;
  void prune_to(std::int64_t max_bytes, Time unused_since, Done done);
  std::string with_users(const std::string& document) const;

  EngineDriver& driver_;
  NodeClient& node_;
  ImageBuilds& builds_;
  const AppCatalog& catalog_;
  std::uint64_t last_query_ = 0;
  std::map<std::uint64_t, Done> waiting_;
  bool keeps_tidy_ = false;
};

}  // namespace ember

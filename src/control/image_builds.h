// Images that the node builds on request, who watches each build, and which are known to be built.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "control/background.h"
#include "control/control.h"
#include "control/fleet.h"
#include "control/source_store.h"
#include "node/node_client.h"

namespace ember {

class ImageBuilds {
 public:
  ImageBuilds(NodeClient& node, const NodeFleet& fleet, SourceStore& sources,
              Background& background)
      : node_(node), fleet_(fleet), sources_(sources), background_(background) {}

  void build(const std::string& spec_json, std::shared_ptr<BuildObserver> observer);
  // Has these images built, or found built; `done` with the first that fails.
  void require(std::vector<ImageSpec> images, std::function<void(Result<>)> done);
  bool is_built(const ImageSpec& image) const;

  // --- what the node says ---
  void on_line(const std::string& id, const std::string& line);
  void on_built(const std::string& id, const Result<>& result);
  // Builds under way end here: whoever asked may ask again.
  void on_node_lost();

 private:
  void watch(const ImageSpec& image, std::shared_ptr<BuildObserver> observer);
  void send(const std::string& id, const ImageSpec& image);

  NodeClient& node_;
  const NodeFleet& fleet_;
  SourceStore& sources_;
  Background& background_;
  std::map<std::string, std::vector<std::shared_ptr<BuildObserver>>> running_;
  std::set<std::string> built_;
};

}  // namespace ember

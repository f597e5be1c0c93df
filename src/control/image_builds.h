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
  // The node has removed it.
  void forget(const std::string& id) { built_.erase(id); }
  void push(const ImageSpec& image, const std::string& reference,
            std::shared_ptr<BuildObserver> observer);

  // --- what the node says ---
  void on_line(const std::string& id, const std::string& line);
  void on_built(const std::string& id, const Result<>& result);
  // Builds under way end here: whoever asked may ask again.
  void on_node_lost();

 private:
  void watch(const ImageSpec& image, std::shared_ptr<BuildObserver> observer);
  // Under a name that is the image's id, or that of a push.
  void watch(const std::string& name, const ImageSpec& image, const std::string& push_to,
             std::shared_ptr<BuildObserver> observer);
  void send(const std::string& name, const ImageSpec& image, const std::string& push_to);

  NodeClient& node_;
  const NodeFleet& fleet_;
  SourceStore& sources_;
  Background& background_;
  std::map<std::string, std::vector<std::shared_ptr<BuildObserver>>> running_;
  std::set<std::string> built_;
};

}  // namespace ember

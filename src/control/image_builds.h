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
#include "control/secrets.h"
#include "control/source_store.h"
#include "node/node_client.h"

namespace ember {

class ImageBuilds {
 public:
  ImageBuilds(NodeClient& node, const NodeFleet& fleet, SourceStore& sources,
              Background& background, const Secrets& secrets)
      : node_(node), fleet_(fleet), sources_(sources), background_(background), secrets_(secrets) {}

  void build(const std::string& spec_json, std::shared_ptr<BuildObserver> observer);
  // Has these images built, or found built; `done` with the first that fails.
  void require(std::vector<ImageSpec> images, std::function<void(Result<>)> done);
  bool is_built(const ImageSpec& image) const;
  // The node has removed it.
  void forget(const std::string& id) { built_.erase(id); }
  // Where to push an image once it is built, and the secret that the registry asks for.
  struct Push {
    std::string reference = {};  // empty: nowhere
    std::string auth = {};       // empty: it asks for none
  };
  void push(const ImageSpec& image, const Push& push, std::shared_ptr<BuildObserver> observer);

  // --- what the node says ---
  void on_line(const std::string& id, const std::string& line);
  void on_built(const std::string& id, const Result<>& result);
  // Builds under way end here: whoever asked may ask again.
  void on_node_lost();

 private:
  void watch(const ImageSpec& image, std::shared_ptr<BuildObserver> observer);
  // Under a name that is the image's id, or that of a push.
  void watch(const std::string& name, const ImageSpec& image, const Push& push,
             std::shared_ptr<BuildObserver> observer);
  void send(const std::string& name, const ImageSpec& image, const Push& push);
  // Empty where neither the image nor the push asks for some.
  Result<UniqueFd> credentials_of(const ImageSpec& image, const Push& push) const;

  NodeClient& node_;
  const NodeFleet& fleet_;
  SourceStore& sources_;
  Background& background_;
  const Secrets& secrets_;
  std::map<std::string, std::vector<std::shared_ptr<BuildObserver>>> running_;
  std::set<std::string> built_;
};

}  // namespace ember

// Images of this node: what is built on request, layer by layer, and found again.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "node/build_sandbox.h"
#include "node/layer_build.h"
#include "node/layer_store.h"
#include "node/node_client.h"
#include "node/process_table.h"

namespace ember {

class ImageStore {
 public:
  // Layers lie in <node_directory>/layers, uv's cache in <node_directory>/uv.
  ImageStore(boost::asio::io_context& loop, ProcessTable& processes, LayerTools tools);
  ~ImageStore();

  // The image if it is built; nothing if a layer is missing.
  std::optional<BuiltImage> find(const ImageSpec& spec) const { return layers_.find(spec); }
  const LayerStore& layers() const { return layers_; }

  struct Progress {
    std::function<void(std::string line)> on_line;
    std::function<void(Result<> result)> on_end;  // once; last
  };
  // Builds what is missing. Two builds of one layer at once are one build with two listeners.
  // `files` holds a directory for each digest that a step names (may be empty where none does).
  struct Order {
    ImageSpec spec;
    std::string push_to = "";  // the reference to push it to then; empty: nowhere
    UniqueFd files = {};  // a directory for each digest that a step names; empty where none does
    std::shared_ptr<const UniqueFd> credentials = {};  // for the registry; may be empty
  };
  void build(Order order, Progress progress);
  // A JSON document (docs/reference/http.md, images). `kept` are layers that containers stand on.
  Result<std::string> answer(const ImageQuery& query, std::set<std::string> kept);

 private:
  struct Request;
  struct Building;

  void go_on(std::shared_ptr<Request> request);
  void all_built(std::shared_ptr<Request> request);
  void add(std::unique_ptr<Building> building);
  std::set<std::string> layers_on_their_way() const;
  void begin(const std::string& layer);
  void prepare(Building& building);
  void start(const std::string& layer);
  void watch_disk();
  void ended(const std::string& layer, Result<LayerFacts> result);
  Error failure_of(const Building& building, Error error) const;
  void finish(const std::string& layer, Result<> result);
  void remove_directories(std::vector<std::string> directories);
  Result<> check_whole(const ImageSpec& spec) const;

  boost::asio::io_context& loop_;
  ProcessTable& processes_;
  const LayerTools tools_;
  const LayerStore layers_;
  std::map<std::string, std::unique_ptr<Building>> building_;
  std::deque<std::string> waiting_for_a_sandbox_;
  boost::asio::steady_timer disk_timer_;
  std::uint64_t pushes_ = 0;
  std::set<pid_t> removing_;  // processes that remove directories
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace ember

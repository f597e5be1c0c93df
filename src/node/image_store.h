// Images of this node: the machine's own /usr (`host`) with Python layers over it. A layer is named
// by the digest of its step and all before it, built once, and never changed.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "node/node_client.h"
#include "node/process_table.h"

namespace ember {

class ImageStore {
 public:
  // Layers lie in <node_directory>/layers, uv's cache in <node_directory>/uv-cache.
  ImageStore(boost::asio::io_context& loop, ProcessTable& processes, std::string node_directory,
             std::string uv);
  ~ImageStore();

  // The directories of the image's layers, the first step's first; nothing if one is not built.
  std::optional<std::vector<std::string>> layers(const ImageSpec& spec) const;

  struct Progress {
    std::function<void(std::string line)> on_line;
    std::function<void(Result<> result)> on_end;  // once; last
  };
  // Builds what is missing. Two builds of one layer at once are one build with two listeners.
  void build(const ImageSpec& spec, Progress progress);

 private:
  struct Request;
  struct LayerBuild;

  void go_on(std::shared_ptr<Request> request);
  void start_layer(const std::string& layer, const ImageStep& step, std::size_t number);
  void follow_output(const std::string& layer);
  void layer_ended(const std::string& layer, ProcessEnd end);
  Error failure_of(const LayerBuild& build) const;
  void finish(const std::string& layer, Result<> result);

  boost::asio::io_context& loop_;
  ProcessTable& processes_;
  const std::string node_directory_;
  const std::string uv_;
  std::map<std::string, std::unique_ptr<LayerBuild>> building_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace ember

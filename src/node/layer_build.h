// One layer's build on its way: its commands run one after the other, their output goes to whoever
// listens and into the layer's log, and it ends once, with what the layer's facts have become.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "node/layer_recipe.h"

namespace ember {

class LayerBuild {
 public:
  struct Listener {
    std::function<void(const std::string& line)> on_line;
    std::function<void(Result<LayerFacts> result)> on_end;  // once; may destroy the build
  };
  LayerBuild(boost::asio::io_context& loop, ProcessTable& processes, std::string log_path,
             Listener listener);
  // Ends what runs.
  ~LayerBuild();

  // A line of our own among the steps'.
  void say(const std::string& line);
  void run(LayerRecipe recipe);
  const std::deque<std::string>& last_lines() const { return last_lines_; }
  // Ends what runs; on_end tells why.
  void give_up(Error why);

 private:
  void next();
  Result<> start(const RecipeCommand& command);
  void follow_output();
  // Everything that is there now. False once the writers have gone.
  bool drain();
  void drain_all();
  void take(std::string_view text);
  void end_line();
  void command_ended(ProcessEnd end);
  void end(Result<LayerFacts> result);

  boost::asio::io_context& loop_;
  ProcessTable& processes_;
  Listener listener_;
  UniqueFd log_;
  LayerRecipe recipe_;
  std::size_t at_ = 0;  // of the recipe's commands
  pid_t running_ = 0;
  boost::asio::posix::stream_descriptor output_;
  boost::asio::steady_timer limit_;
  std::string kept_;     // of the command's output, where that is not shown
  std::string partial_;  // of a line
  std::deque<std::string> last_lines_;
  std::optional<Error> given_up_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace ember

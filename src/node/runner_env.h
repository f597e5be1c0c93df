// The environment and the command of a runner, the same under every isolation.
#pragma once

#include <string>
#include <vector>

#include "node/isolation.h"

namespace ember {

// Where things lie as the runner sees them.
struct RunnerPlaces {
  std::string python;               // holds the packages `ember` and `cloudpickle`
  std::vector<std::string> layers;  // the first step's first
  std::string home;
  std::string temporary;
  std::string run;     // socket and function.json
  std::string source;  // empty: none
};

std::vector<std::string> runner_argv(const BuiltImage& image);
// An environment entry that marks every process of the container. It names the node as well: two
// servers on one machine may each have a container of the same id.
std::string container_mark(NodeId node, ContainerId container);
// NAME=value, the mark first. The user's entries come through, but for what the runner itself
// stands on.
std::vector<std::string> runner_env(const LaunchPlan& plan, const RunnerPlaces& places,
                                    std::string mark);

}  // namespace ember

// What it takes to build a layer: commands, one after the other, and what is to be made of their
// output. One function a kind of step.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "node/build_sandbox.h"
#include "node/layer_store.h"

namespace ember {

struct RecipeCommand {
  // Made when its turn comes, since it may depend on what the ones before it found.
  std::function<Result<Command>(int output)> make;
  enum class Output { shown, kept };
  Output output = Output::shown;
  // Asked when its turn comes. Null: it runs.
  std::function<bool()> needed = nullptr;
  // With what it wrote, if that is kept. Null: its status must be 0.
  std::function<Result<>(ProcessEnd end, const std::string& kept)> after = nullptr;
};

struct LayerRecipe {
  std::vector<RecipeCommand> commands;
  // What the layer's facts become as the commands find them out.
  std::shared_ptr<LayerFacts> facts = std::make_shared<LayerFacts>();
};

struct LayerTools {
  std::string node_directory;
  std::string uv;                       // the program's path; empty: it is not installed
  BuildSandboxes* sandboxes = nullptr;  // null: this node runs no containers
};

struct LayerJob {
  const ImageStep& step;
  std::string title;
  LayerStore::Below below;
  std::string part;                 // the directory of the layer to be; exists
  int files = -1;                   // descriptor of what the step brings; negative: nothing
  BuildSandbox* sandbox = nullptr;  // null for package layers alone
  std::shared_ptr<const UniqueFd> credentials = {};  // what the registry asks for; may be empty
  std::string network;  // path of a namespace that leads to the internet
};

// Whether the step runs in a sandbox, and whether that needs a network.
bool needs_sandbox(const ImageStep& step);
bool needs_network(const ImageStep& step);

// Borrows the tools. Refused: what cannot be built on this node, with what to do.
Result<LayerRecipe> recipe_of(const LayerJob& job, const LayerTools& tools);

// Whether a registry is this machine's own, where certificates are not to be had.
bool is_loopback(const std::string& reference);

// What to do next, from the last lines of a step that failed.
std::string build_hint(const ImageStep& step, const std::deque<std::string>& lines);

}  // namespace ember

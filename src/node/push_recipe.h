// How an image goes to a registry: its root as one layer of an OCI image, packages beside it as one
// each, with what it sets.
#pragma once

#include "node/layer_recipe.h"

namespace ember {

inline constexpr const char* kPush = "push";

// The job's step names the reference, and its image is all that is pushed. invalid_argument: the
// image stands on the machine's own /usr, which goes nowhere.
Result<LayerRecipe> push_recipe(const LayerJob& job);

}  // namespace ember

// How bases are made: a Debian from the machine's own package sources, an image from a registry or
// an archive, one that a Dockerfile describes.
#pragma once

#include "node/layer_recipe.h"

namespace ember {

Result<LayerRecipe> debian_recipe(const LayerJob& job, const LayerTools& tools);
Result<LayerRecipe> registry_recipe(const LayerJob& job, const LayerTools& tools);
Result<LayerRecipe> dockerfile_recipe(const LayerJob& job, const LayerTools& tools);

// Looks at the end for the Python that the image has, and notes it in the facts.
struct PythonProbe {
  BuiltImage image;
  std::string upper;
};
void add_python_probe(LayerRecipe& recipe, const LayerJob& job, PythonProbe probe);

}  // namespace ember

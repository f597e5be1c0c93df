// An image as the user declares it: a base and steps over it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ember {

struct ImageStep {
  std::string kind;                    // "uv_pip_install"
  std::vector<std::string> arguments;  // its packages, in the user's order
};

struct ImageSpec {
  std::string base = "host";
  std::vector<ImageStep> steps;
};

// Every limit of an image; `path` is how messages name it: "functions[2].image".
Result<> check_image(const ImageSpec& spec, std::string_view path = "image");

}  // namespace ember

// An image as the user declares it: a base and steps over it, each cached by what it says.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ember {

struct ImageStep {
  std::string kind = {};                    // "uv_pip_install"; docs/reference/images.md has all
  std::vector<std::string> arguments = {};  // its packages, in the user's order
  std::map<std::string, std::string> options = {};  // each kind has its own
  std::string files = {};  // the digest of the source that it brings; empty: none
};

struct ImageSpec {
  ImageStep base{.kind = "host"};
  std::vector<ImageStep> steps;

  bool on_host() const { return base.kind == "host"; }
};

// Of a base of a registry: the name of the secret with what the registry asks for.
inline constexpr const char* kAuthOption = "auth";

// Steps that change no file: they say how containers of the image run.
bool is_setting(const ImageStep& step);
// Python packages kept beside the root, in a directory of their own.
bool is_package_layer(const ImageStep& step);

// Every limit of an image; `path` is how messages name it: "functions[2].image".
Result<> check_image(const ImageSpec& spec, std::string_view path = "image");

// An image of a registry, as "registry.example:5000/team/app:tag".
Result<> check_reference(const std::string& reference, std::string_view path = "reference");

}  // namespace ember

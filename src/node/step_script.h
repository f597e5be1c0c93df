// What runs in the image for a step: a program and its arguments, with the environment of builds.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "node/layer_store.h"

namespace ember {

// Where a build finds the certificates that this machine trusts.
inline constexpr const char* kCertificatesInBuild = "/ember/tools/ca.crt";

struct StepScript {
  std::vector<std::string> argv;
  bool needs_uv = false;           // at /ember/tools/uv, its cache at /ember/cache
  bool needs_sdk = false;          // the packages of Ember itself
  bool may_change_python = false;  // the image may have another one, or one at all, afterwards
};

StepScript script_of(const ImageStep& step, const LayerFacts& below);

// NAME=value: the image's own, and what leads to this machine's package indexes; without addresses
// that hold passwords, which code of the image could read.
std::vector<std::string> step_env(const BuiltImage& image, const StepScript& script);

// The file of certificates that this machine trusts; empty: there is none.
std::string certificates();

// What to do next, from a step's last lines.
std::string step_hint(const ImageStep& step, const std::deque<std::string>& lines);

}  // namespace ember

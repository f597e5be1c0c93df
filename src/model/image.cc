#include "model/image.h"

#include "model/requirement.h"

namespace ember {
namespace {

constexpr std::size_t kMaxSteps = 32;
constexpr std::size_t kMaxArguments = 256;
constexpr std::size_t kMaxArgumentBytes = 1024;
constexpr std::size_t kMaxImageBytes = 256u << 10;
constexpr std::size_t kShownBytes = 64;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

std::string quoted(std::string_view text) {
  return '"' + std::string(text.substr(0, kShownBytes)) + '"';
}

// An option, a path or an address would let a deploy read files of the node, or have the node look
// into networks that the deploy cannot reach itself.
Result<> check_package(std::string_view package, const std::string& path) {
  if (package.size() <= kMaxArgumentBytes && is_requirement(package)) return Ok{};
  return invalid(path +
                 ".arguments: packages come from the index by name and version, such as "
                 "\"numpy==2.1\" (no options, paths or addresses), not " +
                 quoted(package));
}

Result<> check_step(const ImageStep& step, const std::string& path) {
  if (step.kind != "uv_pip_install") {
    return invalid(path + ".kind " + quoted(step.kind) + " is not known; \"uv_pip_install\" is");
  }
  if (step.arguments.empty() || step.arguments.size() > kMaxArguments) {
    return invalid(path + ".arguments must be a list of 1 to " + std::to_string(kMaxArguments) +
                   " packages");
  }
  for (const std::string& package : step.arguments) {
    if (auto fine = check_package(package, path); !fine) return fine;
  }
  return Ok{};
}

}  // namespace

Result<> check_image(const ImageSpec& spec, std::string_view path) {
  const std::string name(path);
  if (spec.base != "host") {
    return invalid(name + ".base " + quoted(spec.base) + " is not known; \"host\" is");
  }
  if (spec.steps.size() > kMaxSteps) {
    return invalid(name + ".steps has more than " + std::to_string(kMaxSteps) + " steps");
  }
  std::size_t total_bytes = 0;
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    const ImageStep& step = spec.steps[i];
    if (auto fine = check_step(step, name + ".steps[" + std::to_string(i) + "]"); !fine) {
      return fine;
    }
    for (const std::string& package : step.arguments) total_bytes += package.size();
  }
  if (total_bytes > kMaxImageBytes) {
    return invalid(name + " names packages in " + std::to_string(total_bytes) +
                   " bytes; the most is " + std::to_string(kMaxImageBytes));
  }
  return Ok{};
}

}  // namespace ember

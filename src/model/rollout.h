// How a version of an app takes the place of the one before it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ember {

enum class Rollout : std::uint8_t {
  rolling,   // the one before serves until the new one's containers are up
  recreate,  // at once: the one before ends what it has, and gives its containers back
};

inline constexpr const char* kUnknownRollout = "strategy must be \"rolling\" or \"recreate\"";

inline std::optional<Rollout> parse_rollout(std::string_view text) {
  if (text == "rolling") return Rollout::rolling;
  if (text == "recreate") return Rollout::recreate;
  return std::nullopt;
}

}  // namespace ember

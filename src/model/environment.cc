#include "model/environment.h"

#include <algorithm>

namespace ember {
namespace {

constexpr std::size_t kMaxVariables = 256;
constexpr std::size_t kMaxNameBytes = 255;
constexpr std::size_t kMaxValueBytes = 32u << 10;
// Half of what Linux gives a new process for arguments and environment.
constexpr std::size_t kMaxEnvironmentBytes = 1u << 20;
constexpr std::size_t kShownBytes = 64;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

}  // namespace

bool is_env_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && !is_digit(name[0]) &&
         std::ranges::all_of(name, is_name_character);
}

Result<> check_variable(std::string_view name, std::string_view value, std::string_view path) {
  const std::string where = std::string(path) + "." + std::string(name.substr(0, kShownBytes));
  if (!is_env_name(name)) return invalid(where + " is not a name for an environment variable");
  if (name.starts_with("EMBER_")) {
    return invalid(where + ": names that begin with EMBER_ are Ember's own; use another");
  }
  if (value.size() > kMaxValueBytes || value.find('\0') != std::string_view::npos) {
    return invalid(where + " must be a text of at most 32 KiB without a zero byte");
  }
  return Ok{};
}

Result<> check_env(const Environment& env, std::string_view path) {
  if (env.size() > kMaxVariables) {
    return invalid(std::string(path) + " has more than " + std::to_string(kMaxVariables) +
                   " variables");
  }
  std::size_t total_bytes = 0;
  for (const auto& [name, value] : env) {
    if (auto fine = check_variable(name, value, path); !fine) return fine;
    total_bytes += name.size() + value.size();
  }
  if (total_bytes > kMaxEnvironmentBytes) {
    return invalid(std::string(path) + " has " + std::to_string(total_bytes) +
                   " bytes; the most is " + std::to_string(kMaxEnvironmentBytes) +
                   ": put data into files of the source");
  }
  return Ok{};
}

}  // namespace ember

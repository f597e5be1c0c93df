#include "model/exec.h"

#include <algorithm>

namespace ember {
namespace {

constexpr std::size_t kMaxArguments = 1024;
constexpr std::size_t kMaxArgumentsBytes = 64u << 10;
constexpr std::size_t kMaxTypeBytes = 64;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

// Names of terminfo's.
bool is_in_type(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '+' || c == '.';
}

}  // namespace

Result<> check(const ExecSpec& spec) {
  if (spec.arguments.empty() || spec.arguments[0].empty()) {
    return invalid("the command is empty: name a program");
  }
  std::size_t total_bytes = 0;
  for (const std::string& argument : spec.arguments) {
    if (argument.find('\0') != std::string::npos) return invalid("the command has a zero byte");
    total_bytes += argument.size() + 1;
  }
  if (spec.arguments.size() > kMaxArguments || total_bytes > kMaxArgumentsBytes) {
    return invalid("the command has more than 1024 words or 64 KiB: put it into a file");
  }
  if (spec.terminal_type.size() > kMaxTypeBytes ||
      !std::ranges::all_of(spec.terminal_type, is_in_type)) {
    return invalid("the terminal's type is not a name such as xterm-256color");
  }
  return Ok{};
}

}  // namespace ember

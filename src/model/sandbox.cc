#include "model/sandbox.h"

#include <string>

namespace ember {
namespace {

constexpr IsolationClass kAll[] = {IsolationClass::of_the_node, IsolationClass::container,
                                   IsolationClass::gvisor};
constexpr std::size_t kShownBytes = 64;
constexpr std::int64_t kLeastDiskBytes = 16ll << 20;
constexpr std::int64_t kMostDiskBytes = 16ll << 40;  // of an ext4 with blocks of 4 KiB

}  // namespace

std::string_view isolation_class_name(IsolationClass isolation) {
  switch (isolation) {
    case IsolationClass::of_the_node:
      return "";
    case IsolationClass::container:
      return "container";
    case IsolationClass::gvisor:
      return "gvisor";
  }
  return "";
}

Result<IsolationClass> parse_isolation_class(std::string_view text) {
  for (const IsolationClass one : kAll) {
    if (text == isolation_class_name(one)) return one;
  }
  return {ErrorCode::invalid_argument, '"' + std::string(text.substr(0, kShownBytes)) +
                                           "\" is not known; \"container\" and \"gvisor\" are"};
}

Result<> check_ephemeral_disk(std::int64_t bytes) {
  if (bytes == 0 || (bytes >= kLeastDiskBytes && bytes <= kMostDiskBytes)) return Ok{};
  return {ErrorCode::invalid_argument, "must be between 16 MiB and 16 TiB, in bytes"};
}

}  // namespace ember

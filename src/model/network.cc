#include "model/network.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace ember {
namespace {

constexpr NetworkAccess kAll[] = {NetworkAccess::internet, NetworkAccess::none};
constexpr std::size_t kShownBytes = 64;

std::string lower(std::string_view text) {
  std::string all(text);
  std::ranges::transform(all, all.begin(),
                         [](unsigned char c) { return static_cast<char>(c | 0x20); });
  return all;
}

// How many letters must be added, taken away or changed to make the one of the other.
std::size_t distance(std::string_view one, std::string_view other) {
  std::vector<std::size_t> row(other.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < one.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < other.size(); ++j) {
      const std::size_t changed = diagonal + (one[i] == other[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string_view network_access_name(NetworkAccess access) {
  return access == NetworkAccess::none ? "none" : "internet";
}

Result<NetworkAccess> parse_network_access(std::string_view text) {
  const std::string shown(text.substr(0, kShownBytes));
  std::string guess;
  for (const NetworkAccess access : kAll) {
    const std::string_view name = network_access_name(access);
    if (text == name) return access;
    if (distance(lower(shown), name) <= name.size() / 2) guess = name;
  }
  return {ErrorCode::invalid_argument,
          '"' + shown + "\" is not known; \"internet\" and \"none\" are" +
              (guess.empty() ? "" : ": did you mean \"" + guess + "\"?")};
}

}  // namespace ember

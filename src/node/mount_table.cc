#include "node/mount_table.h"

#include <algorithm>
#include <sstream>

namespace ember {
namespace {

constexpr std::size_t kMountPointField = 4;  // of the fields from 0

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// Blanks, line ends and backslashes stand as \ooo.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

std::vector<std::string> mount_points_below(const std::string& directory,
                                            std::string_view mountinfo) {
  std::vector<std::string> points;
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string field;
    for (std::size_t i = 0; i <= kMountPointField && fields >> field; ++i) {
    }
    const std::string point = unescape(field);
    if (fields && point.starts_with(directory + "/")) points.push_back(point);
  }
  std::ranges::sort(points);
  const auto repeated = std::ranges::unique(points);
  points.erase(repeated.begin(), repeated.end());
  return points;
}

}  // namespace ember

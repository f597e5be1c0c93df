#include "model/secret.h"

#include <algorithm>

namespace ember {
namespace {

constexpr std::size_t kMaxMountBytes = 200;

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

bool is_plain_part(std::string_view part) {
  return !part.empty() && part[0] != '.' && std::ranges::all_of(part, is_plain);
}

}  // namespace

Result<> check_secret_mount(std::string_view mount, std::string_view path) {
  const Error wrong{ErrorCode::invalid_argument,
                    std::string(path) + " must be a directory in " +
                        std::string(kSecretsDirectory) +
                        " of letters, digits, '_', '-' and '.', such as /run/secrets/db"};
  if (mount.size() > kMaxMountBytes || !mount.starts_with(kSecretsDirectory)) return wrong;
  std::string_view rest = mount.substr(kSecretsDirectory.size());
  if (rest.empty()) return wrong;
  while (!rest.empty()) {
    if (rest[0] != '/') return wrong;
    rest.remove_prefix(1);
    const std::string_view part = rest.substr(0, rest.find('/'));
    if (!is_plain_part(part)) return wrong;
    rest.remove_prefix(part.size());
  }
  return Ok{};
}

}  // namespace ember

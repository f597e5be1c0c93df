// A secret belongs to a workspace, has a name and versions; a version is a set of KEY=value pairs.
// Nothing here holds a value.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "model/ids.h"

namespace ember {

struct SecretIdTag {
  static constexpr std::string_view kPrefix = "se";
};
using SecretId = Id<SecretIdTag>;

// Below it lie the keys of secrets that are given as files; in memory alone.
inline constexpr std::string_view kSecretsDirectory = "/run/secrets";

// A directory below kSecretsDirectory, such as /run/secrets/db.
Result<> check_secret_mount(std::string_view mount, std::string_view path);

}  // namespace ember

// What a registry is told of who asks: a user and a password of a secret, in the form of Docker's
// config.json. It goes to the node's tools as a file of memory, which the node itself never reads.
#pragma once

#include <string>

#include "base/result.h"
#include "control/secrets.h"
#include "node/unique_fd.h"

namespace ember {

// Of the secret with that name, which has both keys, for the registry of the reference
// ("registry.example:5000/team/app:1").
Result<UniqueFd> registry_credentials(const Secrets& secrets, const std::string& secret,
                                      const std::string& reference);

// The registry as such a file names it: "registry.example:5000"; "docker.io" where the reference
// names none.
std::string registry_of(const std::string& reference);

}  // namespace ember

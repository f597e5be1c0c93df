// What lies where in a data directory:
//
//   master.key        what seals secrets (mode 600), unless it is kept elsewhere
//   key, url          what clients read: the generated key (mode 600) and where the server listens
//   serve.pid, node.pid
//   serve/            state, blobs, sources, logs: belongs to serve's own user
//   node/             sockets, containers, layers: belongs to the node's user
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "node/unique_fd.h"

namespace ember {

enum class Role { serve, node };

std::string_view role_name(Role role);

// Makes the directory and the role's own part of it, with owners and modes, or says what forbids
// it.
Result<> prepare_data_directory(const std::string& data, Role role);

// Takes <data>/<role>.pid: locked as long as the descriptor is open, so that two of a role never
// share a data directory; conflict names the process that holds it.
Result<UniqueFd> take_pid_file(const std::string& data, Role role);

// The key in <data>/key; on the first start the text that `generate` gives, written there mode 600.
Result<std::string> read_or_make_key(const std::string& data, std::string (*generate)());

// Opens <data>/url for writing while we still may; `write_url` fills it once the server listens.
Result<UniqueFd> open_url_file(const std::string& data);
Result<> write_url(const UniqueFd& file, std::string_view url);

}  // namespace ember

// Unix stream sockets by path. A path may be longer than sockaddr_un holds: the directory is then
// reached by a descriptor of our own.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "node/unique_fd.h"

namespace ember {

// A non-blocking listening socket at the path, replacing one that a dead process left there.
Result<UniqueFd> listen_unix(const std::string& path, mode_t mode);

// A connected non-blocking socket.
Result<UniqueFd> connect_unix(const std::string& path);

// The next waiting connection, or an empty descriptor when there is none.
UniqueFd accept_one(int listener);

// Who connected, as the kernel saw it at that moment.
ucred peer_of(int socket);

}  // namespace ember

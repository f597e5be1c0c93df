// Bytes and descriptors over a non-blocking Unix stream socket, in single system calls.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <deque>
#include <span>

#include "node/unique_fd.h"

namespace ember {

inline constexpr std::size_t kMaxFilesOfOneRead = 8;

// One gathered write; `file`, if not negative, travels with its first byte. As sendmsg(2).
ssize_t send_vectors(int socket, std::span<iovec> vectors, int file);

// One read. Descriptors that came along are appended to `files`, closed on exec. As recvmsg(2),
// but EPROTO where more than kMaxFilesOfOneRead descriptors are waiting.
ssize_t receive_bytes(int socket, std::span<char> into, std::deque<UniqueFd>& files);

}  // namespace ember

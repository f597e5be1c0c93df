// What the targets with sockets share: a loop, a pair of sockets, and a peer that sends in pieces.
#pragma once

#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "base/random.h"
#include "node/unique_fd.h"

namespace ember::fuzz {

inline boost::asio::io_context& loop() {
  static boost::asio::io_context the_loop(1);
  return the_loop;
}

inline void turn() {
  loop().restart();
  loop().poll();
}

inline std::pair<UniqueFd, UniqueFd> socket_pair() {
  int ends[2];
  EMBER_ASSERT(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// Sends the bytes in pieces, turning the loop after each. Choice 0 sends them all at once.
template <class AfterPiece>
void send_in_pieces(const UniqueFd& socket, std::string_view bytes, std::uint8_t choice,
                    AfterPiece after_piece) {
  Random random(choice);
  while (!bytes.empty()) {
    const std::size_t most = choice == 0 ? bytes.size() : 1 + random.below(choice);
    const ssize_t sent = ::send(socket.get(), bytes.data(), std::min(most, bytes.size()),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) return;
    if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
    turn();
    after_piece();
  }
}

inline std::string receive_all(const UniqueFd& socket) {
  std::string all;
  char buffer[64 << 10];
  for (;;) {
    const ssize_t count = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (count <= 0) return all;
    all.append(buffer, static_cast<std::size_t>(count));
  }
}

}  // namespace ember::fuzz

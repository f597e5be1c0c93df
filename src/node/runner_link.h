// The serve side of one runner's socket: frames out with gathered writes, frames in with large
// reads. Lives on the loop's thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "node/body_budget.h"
#include "node/frame.h"
#include "node/unique_fd.h"

namespace ember {

class RunnerLinkObserver {
 public:
  virtual ~RunnerLinkObserver() = default;
  // `body` is the link's to lend: take it with std::move or leave it.
  virtual void on_frame(const FrameHeader& header, std::string& body) = 0;
  // The connection ended or broke the protocol. The last call; the link may be destroyed in it.
  virtual void on_closed(std::string_view why) = 0;
};

class RunnerLink {
 public:
  virtual ~RunnerLink() = default;  // closes; no observer calls after
  virtual void start(RunnerLinkObserver* observer) = 0;
  // Queues a frame: `prefix` (at most 64 bytes, copied) then `body`. Frames queued in one turn of
  // the loop leave in one system call. A file, if given, is sent along and closed. The body of
  // Secrets is wiped once it has left.
  virtual void send(FrameHeader header, std::string_view prefix, std::string body,
                    UniqueFd file = {}) = 0;
  virtual std::size_t bytes_queued() const = 0;
  // Reads no more than what has been read already, nor finds that the connection has ended, until
  // resume(). The runner that writes on is made to wait.
  virtual void pause() = 0;
  virtual void resume() = 0;
};

// The budget outlives the link.
std::unique_ptr<RunnerLink> make_runner_link(boost::asio::io_context& loop, UniqueFd socket,
                                             BodyBudget& budget);

}  // namespace ember

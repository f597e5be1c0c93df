// covers: src/node/frame.cc src/node/runner_link.cc src/node/socket_io.cc
// covers: src/control/error_body.cc src/control/call_progress.cc src/gateway/error_response.cc
//
// A runner's socket: the frames that are seen are those that a plain reading of the bytes gives,
// however they come, and whatever a body holds it makes a well-formed answer.
#include <sys/mman.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "control/call_progress.h"
#include "control/error_body.h"
#include "gateway/error_response.h"
#include "loop.h"
#include "node/runner_link.h"
#include "node/socket_io.h"
#include "targets.h"

namespace ember::fuzz {
namespace {

struct Frame {
  FrameHeader header;
  std::string body;

  bool operator==(const Frame& other) const {
    return encode(header) == encode(other.header) && body == other.body;
  }
};

// The frames of the bytes, up to the first that ends the connection; whether there was one.
bool read_plainly(std::string_view bytes, std::vector<Frame>& frames) {
  while (bytes.size() >= kFrameHeaderSize) {
    std::array<char, kFrameHeaderSize> head;
    std::memcpy(head.data(), bytes.data(), head.size());
    const auto header = decode(head);
    if (!header) return true;
    const bool in_file = (header->format & kFrameBodyInFile) != 0;
    if (bytes.size() - kFrameHeaderSize < header->length) return false;
    if (in_file) return true;  // none has come
    frames.push_back({*header, std::string(bytes.substr(kFrameHeaderSize, header->length))});
    bytes.remove_prefix(kFrameHeaderSize + header->length);
  }
  return false;
}

class Seen final : public RunnerLinkObserver {
 public:
  void on_frame(const FrameHeader& header, std::string& body) override {
    EMBER_ASSERT(!closed && header.length == body.size());
    frames.push_back({header, body});
    if (header.type == FrameType::error) check_error(body);
    if (header.type == FrameType::progress) check_progress(body);
  }
  void on_closed(std::string_view) override {
    EMBER_ASSERT(!closed);
    closed = true;
  }

  std::vector<Frame> frames;
  bool closed = false;

 private:
  static void check_error(std::string body) {
    const ErrorBody read = mend_error_body(body);
    const Response response =
        failure_response({{read.code, read.message}, body, 0, {}, read.status}, {});
    EMBER_ASSERT(nlohmann::json::accept(response.body));
    EMBER_ASSERT(response.status >= 400 && response.status <= 599);
  }
  // It stands within other documents.
  static void check_progress(const std::string& body) {
    const auto text = progress_text(body, Time::from_ms(1));
    EMBER_ASSERT(!text || nlohmann::json::accept(*text));
  }
};

UniqueFd file_of(std::string_view content) {
  UniqueFd file(::memfd_create("fuzz", MFD_CLOEXEC));
  EMBER_ASSERT(::write(file.get(), content.data(), content.size()) ==
               static_cast<ssize_t>(content.size()));
  return file;
}

}  // namespace

void frames(std::string_view bytes) {
  const Input input(bytes);
  auto [ours, theirs] = socket_pair();
  Seen seen;
  BodyBudget budget;
  const auto link = make_runner_link(loop(), std::move(ours), budget);
  link->start(&seen);
  if (input.choice == 255) {
    // A file comes with the first byte, which nothing is said of but in the header.
    const UniqueFd file = file_of(input.rest);
    std::string copy(input.rest);
    iovec vector{copy.data(), copy.size()};
    (void)send_vectors(theirs.get(), {&vector, 1}, file.get());
    turn();
  } else {
    send_in_pieces(theirs, input.rest, input.choice, [] {});
    std::vector<Frame> expected;
    const bool ends = read_plainly(input.rest, expected);
    EMBER_ASSERT(seen.frames == expected);
    EMBER_ASSERT(seen.closed == ends);
  }
  theirs.reset();
  turn();
  EMBER_ASSERT(seen.closed);
}

}  // namespace ember::fuzz

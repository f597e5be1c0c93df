// covers: src/node/node_messages.cc src/node/json_fields.h src/node/json_bounds.h
// covers: src/node/message_channel.cc src/model/image.cc src/model/environment.cc
//
// What `serve` and a node say to each other: a message that is understood is written back as one
// that means the same, and the channel gives the messages that a plain reading of the bytes gives.
#include <cstring>
#include <vector>

#include "loop.h"
#include "model/environment.h"
#include "model/image.h"
#include "node/message_channel.h"
#include "node/node_messages.h"
#include "targets.h"

namespace ember::fuzz {
namespace {

constexpr std::uint8_t kAsDriver = 0, kAsNode = 1, kAsExit = 2;  // else: cuts of the channel

template <class Message, class Decode>
void check_round_trip(std::string_view text, Decode decode) {
  const Result<Message> message = decode(text);
  if (!message.ok()) return;
  const std::string written = encode(*message);
  const Result<Message> again = decode(written);
  EMBER_ASSERT(again.ok());
  EMBER_ASSERT(encode(*again) == written);
}

void check_start(std::string_view text) {
  const auto message = decode_driver_message(text);
  if (!message.ok()) return;
  const auto* start = std::get_if<StartRequest>(&*message);
  if (start == nullptr) return;
  if (check_env(start->spec.env).ok()) {
    for (const auto& [name, value] : start->spec.env) {
      EMBER_ASSERT(!name.empty() && name.find('=') == std::string::npos);
      EMBER_ASSERT(value.find('\0') == std::string::npos);
    }
  }
  if (check_image(start->spec.image).ok()) {
    for (const ImageStep& step : start->spec.image.steps) {
      for (const std::string& word : step.arguments) EMBER_ASSERT(!word.starts_with('-'));
    }
  }
}

bool read_plainly(std::string_view bytes, std::vector<std::string>& messages) {
  while (bytes.size() >= 8) {
    std::uint32_t length, files;
    std::memcpy(&length, bytes.data(), sizeof length);
    std::memcpy(&files, bytes.data() + 4, sizeof files);
    if (length > kMaxMessageBytes || files > 1) return true;
    if (bytes.size() - 8 < length) return false;
    if (files > 0) return true;  // none has come
    messages.emplace_back(bytes.substr(8, length));
    bytes.remove_prefix(8 + length);
  }
  return false;
}

class Seen final : public MessageObserver {
 public:
  void on_message(std::string_view json, UniqueFd file) override {
    EMBER_ASSERT(!closed && !file);
    messages.emplace_back(json);
  }
  void on_channel_closed(std::string) override {
    EMBER_ASSERT(!closed);
    closed = true;
  }

  std::vector<std::string> messages;
  bool closed = false;
};

void channel(const Input& input) {
  auto [ours, theirs] = socket_pair();
  Seen seen;
  const auto channel = make_message_channel(loop(), std::move(ours));
  channel->start(&seen);
  send_in_pieces(theirs, input.rest, input.choice, [] {});
  std::vector<std::string> expected;
  const bool ends = read_plainly(input.rest, expected);
  EMBER_ASSERT(seen.messages == expected);
  EMBER_ASSERT(seen.closed == ends);
  theirs.reset();
  turn();
  EMBER_ASSERT(seen.closed);
}

}  // namespace

void messages(std::string_view bytes) {
  const Input input(bytes);
  switch (input.choice) {
    case kAsDriver:
      check_round_trip<DriverMessage>(input.rest, decode_driver_message);
      return check_start(input.rest);
    case kAsNode:
      return check_round_trip<NodeMessage>(input.rest, decode_node_message);
    case kAsExit:
      (void)decode_exit(input.rest).ok();
      return;
    default:
      return channel(input);
  }
}

}  // namespace ember::fuzz

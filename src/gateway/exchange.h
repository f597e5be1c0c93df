// One request being answered, as handlers see it: the side of a connection that takes answers.
#pragma once

#include <memory>
#include <string_view>

#include "control/control.h"
#include "gateway/http.h"

namespace ember {

class Exchange {
 public:
  virtual ~Exchange() = default;
  // The whole answer. Once, unless begin_stream() was called.
  virtual void respond(Response response) = 0;

  // A 200 whose body comes in pieces.
  virtual void begin_stream(std::string_view content_type) = 0;
  virtual void write_stream(std::string_view piece) = 0;
  virtual void end_stream() = 0;
  // Bytes written that the client has not taken yet.
  virtual std::size_t stream_backlog_bytes() const = 0;
  virtual std::size_t stream_limit_bytes() const = 0;
  // The client's side of a conversation in messages, if its request asks for one; else null.
  virtual MessageClient* message_client() = 0;
  // Leaves HTTP for it, in the place of an answer.
  virtual void begin_messages(std::unique_ptr<MessageSession> session) = 0;
  // Keeps something alive for as long as the client is there, for example a subscription.
  virtual void hold(std::shared_ptr<void> thing) = 0;
};

// The right to answer, which handlers may keep past their return. An answer to a client that has
// gone meanwhile is dropped.
class Reply {
 public:
  explicit Reply(std::weak_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

  void send(Response response) const {
    if (const auto exchange = exchange_.lock()) exchange->respond(std::move(response));
  }
  std::shared_ptr<Exchange> exchange() const { return exchange_.lock(); }

 private:
  std::weak_ptr<Exchange> exchange_;
};

// A stream of JSON lines to a client that may read slowly or not at all: what does not fit its
// queue is left out, counted, and said in the stream itself as soon as there is room.
class LineStream {
 public:
  explicit LineStream(Reply reply) : reply_(std::move(reply)) {}

  // Sends the response head, if that is not done, and then `text`: whole lines, never left out.
  void begin(std::string_view text = {});
  // `line` is one JSON document without a line break.
  void write(std::string line);
  // A line that is not even tried: counted, and said like those that found no room.
  void leave_out() { ++dropped_; }
  // Lines that must arrive, for example the outcome: never left out.
  void write_last(std::string line);
  bool begun() const { return begun_; }

 private:
  void say_dropped(Exchange& exchange);

  Reply reply_;
  bool begun_ = false;
  std::uint64_t dropped_ = 0;
};

}  // namespace ember

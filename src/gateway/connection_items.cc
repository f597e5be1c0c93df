// A call's answer: one result, or the items of a generator function as they come.
#include "base/assert.h"
#include "gateway/connection.h"
#include "gateway/error_response.h"

namespace ember {
namespace {

// Proxies that keep answers back until they are whole, or for others, are told not to.
constexpr std::string_view kUnbuffered = "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";

}  // namespace

CallWants Connection::wants() const {
  const RequestHead& head = parser_.head();
  if (is_watched(head.accepts)) {
    return head.accepts == Accepts::watched_result  ? CallWants::result
           : head.accepts == Accepts::watched_items ? CallWants::items
                                                    : CallWants::either;
  }
  if (head.media == MediaType::pickle) {
    return head.accepts == Accepts::items ? CallWants::items : CallWants::result;
  }
  if (head.accepts == Accepts::ndjson) return CallWants::items;
  return head.accepts == Accepts::json ? CallWants::result : CallWants::either;
}

// From here on errors are told in the stream.
void Connection::open_items() {
  const RequestHead& head = parser_.head();
  const bool frames = head.accepts == Accepts::items || head.media == MediaType::pickle;
  items_.emplace(is_watched(head.accepts)          ? ItemFraming::watched_frames
                 : frames                          ? ItemFraming::frames
                 : head.accepts == Accepts::events ? ItemFraming::events
                                                   : ItemFraming::lines);
  told_ = {};
  std::string headers(kUnbuffered);
  append_call_id(headers, call_);
  open_stream(items_->content_type(), headers);
  stream_bytes_ = output_.size();
}

void Connection::write_items(std::string_view text) {
  const std::size_t before = output_.size();
  write_stream(text);
  stream_bytes_ += output_.size() - before;
}

bool Connection::tells_how_it_goes() const {
  const RequestHead& head = parser_.head();
  return is_watched(head.accepts) ||
         (head.accepts == Accepts::events && head.media != MediaType::pickle);
}

void Connection::tell_status(const CallStatus& status) {
  told_ = status;
  write_items(items_->status(status));
}

// Before the first item or result, where the client has been told of the waiting.
void Connection::tell_running() {
  if (told_.reason.empty() || told_.phase == CallPhase::running) return;
  tell_status({CallPhase::running, 0, "runs on a container"});
}

void Connection::tick_items() {
  if (!told_.reason.empty() && told_.phase != CallPhase::running && call_) {
    const CallStatus status = edge_->control.call_status(call_);
    // The time left runs down by itself: that is told to those alone who read what they are told.
    CallStatus known = told_;
    if (!output_.empty()) known.left = status.left;
    if (status != known) return tell_status(status);
  }
  const std::uint64_t silent = edge_->tick - since_tick_;
  if (output_.empty() && silent >= edge_->options.limits.stream_blank_seconds) {
    write_items(items_->silence());
  }
}

void Connection::on_item(Body item) {
  if (!items_) open_items();
  tell_running();
  write_items(items_->item(item.bytes));
  items_->wrote_item(item.bytes.size(), stream_bytes_);
}

// Of what a client does not read in time the last is kept.
void Connection::on_progress(std::string_view progress) {
  if (!tells_how_it_goes()) return;
  if (!items_) open_items();
  tell_running();
  progress_ = progress;
  if (output_.empty()) tell_progress();
}

void Connection::tell_progress() {
  if (!progress_.empty()) write_items(items_->progress(std::exchange(progress_, {})));
}

void Connection::grant_items() {
  const StreamCredit gone = items_->gone(stream_bytes_ - output_.size());
  if (gone && call_) edge_->control.accept_items(call_, gone);
}

void Connection::end_items(std::string_view text) {
  tell_progress();
  write_items(text);
  end_stream();
}

void Connection::on_result(Body value, const CallReport& report) {
  if (report.is_stream && !items_) open_items();
  let_go_of_call();
  if (value.format == BodyFormat::none) value.bytes = "null";
  if (items_) {
    tell_running();
    return end_items((report.is_stream ? "" : items_->result(value.bytes)) + items_->end(report));
  }
  EMBER_ASSERT(state_ == State::waiting);
  std::string& out = output_.text();
  append_status(out, 200, framing(), edge_->date_line);
  append_call_fields(out, report);
  append_body_fields(out, content_type_of(value.format), value.bytes.size());
  finish(std::move(value.bytes));
}

void Connection::on_failure(CallFailure failure, const CallReport& report) {
  let_go_of_call();
  Response response = failure_response(failure, report);
  if (items_) return end_items(items_->error(response.body));
  respond(std::move(response));
}

}  // namespace ember

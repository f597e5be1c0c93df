// Answers of apps on their way to the client, and what it is told where there is none.
#include <array>
#include <boost/asio/post.hpp>
#include <charconv>

#include "gateway/error_response.h"
#include "gateway/web_connection.h"

namespace ember {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

constexpr int kSwitching = 101, kFirstFinal = 200, kNoContent = 204, kNotModified = 304;

struct Told {
  int status = 0;
  std::string_view message;
};

// What strangers may know of a failure: the rest is in the app's logs.
Told told_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::resource_exhausted:
      return {503, "too many requests wait already; try again later"};
    case ErrorCode::unavailable:
    case ErrorCode::storage_failed:
      return {503, "the server takes no requests now; try again later"};
    case ErrorCode::not_found:
      return {404, "the web endpoint is gone"};
    case ErrorCode::timed_out:
      return {504, "the app took longer than its timeout"};
    case ErrorCode::cancelled:
      return {503, "the request was withdrawn: its app was stopped, or an operator cancelled it"};
    case ErrorCode::start_failed:
      return {502, "the app does not start; `ember logs` says why"};
    case ErrorCode::user_exception:
      return {500, "the app failed; `ember logs` says why"};
    default:
      return {502, "the app ended without an answer; `ember logs` says why"};
  }
}

}  // namespace

Framing WebConnection::framing() const {
  return {parser_.head().http11, keep_alive_ && !edge_->stats.draining};
}

void WebConnection::put(std::string_view bytes) {
  if (output_.empty()) write_tick_ = edge_->tick;
  output_.text().append(bytes);
  put_bytes_ += bytes.size();
  flush_soon();
}

void WebConnection::on_piece(std::string bytes) {
  if (answered_) {
    on_body(bytes);
  } else {
    on_answer_head(bytes);
  }
  if (!call_) return;  // it was no answer
  items_.push_back({put_bytes_, static_cast<std::uint32_t>(bytes.size())});
  flush_soon();  // which counts what has left, were it nothing
}

void WebConnection::on_answer_head(std::string_view text) {
  auto head = parse_answer_head(text);
  const bool switches = head.ok() && head->status == kSwitching;
  const bool may_be =
      head.ok() && (switches ? !parser_.head().websocket_key.empty() : head->status >= kFirstFinal);
  if (!may_be) {
    give_up_call();
    return refuse(502, ErrorCode::container_crashed, "the app's answer is not one of HTTP");
  }
  answered_ = true;
  begin_answer(*head);
}

void WebConnection::begin_answer(const AnswerHead& head) {
  choose_outflow(head);
  std::string out;
  const bool switches = head.status == kSwitching;
  append_status(out, head.status, switches ? Framing{} : framing(), edge_->date_line);
  append_call_id(out, call_);
  out.append(head.fields);
  if (switches) {
    out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
    inflow_ = Inflow::tunnel;
    process_soon();  // what the client sent ahead
  } else if (outflow_ == Outflow::chunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  } else if (head.content_length && head.status != kNoContent) {
    out.append("Content-Length: ");
    append_number(out, static_cast<std::int64_t>(*head.content_length));
    out.append("\r\n");
  }
  put(out.append("\r\n"));
}

void WebConnection::choose_outflow(const AnswerHead& head) {
  const RequestHead& request = parser_.head();
  if (head.status == kSwitching) {
    outflow_ = Outflow::by_close;
    return;  // Connection is said otherwise
  }
  if (request.method == Method::head || head.status == kNoContent || head.status == kNotModified) {
    outflow_ = Outflow::none;
  } else if (head.content_length) {
    outflow_ = Outflow::counted;
    out_left_ = *head.content_length;
  } else {
    outflow_ = request.http11 ? Outflow::chunked : Outflow::by_close;
  }
  if (outflow_ == Outflow::by_close || inflow_ != Inflow::none) keep_alive_ = false;
}

void WebConnection::on_body(std::string_view bytes) {
  if (outflow_ == Outflow::none || bytes.empty()) return;
  if (outflow_ == Outflow::by_close) return put(bytes);
  if (outflow_ == Outflow::counted) {
    if (bytes.size() > out_left_) {  // what follows would be read as the next answer
      give_up_call();
      return break_off();
    }
    out_left_ -= bytes.size();
    return put(bytes);
  }
  std::array<char, 16> size;
  const auto end = std::to_chars(size.data(), size.data() + size.size(), bytes.size(), 16).ptr;
  put({size.data(), static_cast<std::size_t>(end - size.data())});
  put("\r\n");
  put(bytes);
  put("\r\n");
}

// Tells the app of what has wholly left.
void WebConnection::grant() {
  const std::uint64_t gone = put_bytes_ - output_.size();
  StreamCredit credit;
  while (!items_.empty() && items_.front().end <= gone) {
    ++credit.items;
    credit.bytes += items_.front().bytes;
    items_.pop_front();
  }
  if (credit && call_) edge_->web.accept(call_, credit);
}

void WebConnection::on_end() {
  let_go_of_call();
  if (!answered_) {
    return refuse(502, ErrorCode::container_crashed, "the app ended without an answer");
  }
  if (outflow_ == Outflow::counted && out_left_ > 0) return break_off();
  if (inflow_ != Inflow::none) keep_alive_ = false;  // nobody wants the rest of the request
  if (outflow_ == Outflow::chunked) put("0\r\n\r\n");
  if (inflow_ == Inflow::tunnel && left_) broken_ = true;  // nobody is there to be waited for
  finish();
}

void WebConnection::on_failure(CallFailure failure) {
  let_go_of_call();
  if (answered_) return break_off();
  respond_to(failure);
}

void WebConnection::respond_to(const CallFailure& failure) {
  const Told told = told_of(failure.error.code);
  CallFailure shown{{failure.error.code, std::string(told.message)}};
  shown.status = told.status;
  shown.retry_after_s = failure.retry_after_s;
  respond(refusal_response(shown));
}

void WebConnection::refuse(int status, ErrorCode code, std::string message) {
  respond(error_response(status, {code, std::move(message)}));
}

void WebConnection::respond(Response response) {
  if (inflow_ != Inflow::none) keep_alive_ = false;
  std::string out;
  append_status(out, response.status, framing(), edge_->date_line);
  out.append(response.headers);
  append_body_fields(out, response.content_type, response.body.size());
  if (parser_.head().method != Method::head) out.append(response.body);
  put(out);
  finish();
}

// An answer that has begun cannot be taken back; that it is not whole shows by its end.
void WebConnection::break_off() {
  broken_ = true;
  keep_alive_ = false;
  if (outflow_ == Outflow::by_close && inflow_ != Inflow::tunnel) {
    boost::system::error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);  // an end that is none
  }
  finish();
}

void WebConnection::finish() {
  keep_alive_ = keep_alive_ && !edge_->stats.draining;
  state_ = State::writing;
  since_tick_ = write_tick_ = edge_->tick;
  flush_soon();
}

void WebConnection::let_go_of_call() {
  if (!call_) return;
  call_ = {};
  items_.clear();
  edge_->client_calls.remove(holder(), 0);
}

void WebConnection::give_up_call() {
  const CallId call = call_;
  let_go_of_call();
  if (call) edge_->web.abandon(call);
}

// Not from within whoever calls: a failed write closes the connection.
void WebConnection::flush_soon() {
  if (flushing_soon_) return;
  flushing_soon_ = true;
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->flushing_soon_ = false;
    if (self->state_ != State::closed) self->flush();
  });
}

void WebConnection::flush() {
  if (writing_) return;  // the socket is full; its turn comes
  std::size_t left = 0;
  const auto sent = output_.send(socket_.native_handle(), left);
  if (left > 0) write_tick_ = edge_->tick;
  grant();
  if (sent == Output::Sent::failed) return close();
  if (sent == Output::Sent::some) return arm_write();
  if (state_ == State::writing) after_answer();
}

void WebConnection::arm_write() {
  writing_ = true;
  socket_.async_wait(tcp::socket::wait_write,
                     [self = shared_from_this()](boost::system::error_code error) {
                       self->writing_ = false;
                       if (self->state_ == State::closed) return;
                       if (error) return self->close();
                       self->flush();
                     });
}

void WebConnection::after_answer() {
  since_tick_ = edge_->tick;
  if (broken_) return close();
  if (!keep_alive_) return linger();
  state_ = State::head;
  parser_.reset();
  process_soon();
}

// Closing at once with input unread would reset the connection under an answer on its way.
void WebConnection::linger() {
  state_ = State::lingering;
  input_ = {};
  boost::system::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  arm_read();
}

}  // namespace ember

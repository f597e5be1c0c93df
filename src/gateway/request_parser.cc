#include "gateway/request_parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/verb.hpp>
#include <optional>

#include "base/assert.h"

namespace ember {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using BeastView = boost::beast::string_view;

constexpr std::size_t kAsideBytes = 16u << 10;
// No chunked body ends in fewer bytes than "0\r\n\r\n", and Beast asserts that it got as many.
constexpr std::size_t kLeastChunkedBytes = 5;

std::string_view view(BeastView text) { return {text.data(), text.size()}; }

bool equals_ignoring_case(std::string_view text, std::string_view lower_case) {
  return std::equal(text.begin(), text.end(), lower_case.begin(), lower_case.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

Method method_of(http::verb verb) {
  switch (verb) {
    case http::verb::get:
      return Method::get;
    case http::verb::head:
      return Method::head;
    case http::verb::post:
      return Method::post;
    case http::verb::put:
      return Method::put;
    case http::verb::delete_:
      return Method::remove;
    default:
      return Method::other;
  }
}

// Of names, addresses and a port: what else a URL lets stand there, others may cut otherwise.
bool is_in_host(char c) {
  const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return plain || std::string_view(".-_:[]").find(c) != std::string_view::npos;
}

MediaType media_of(std::string_view value) {
  std::string_view type = value.substr(0, value.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  if (equals_ignoring_case(type, "application/json")) return MediaType::json;
  if (equals_ignoring_case(type, "application/x-ember-pickle")) return MediaType::pickle;
  if (equals_ignoring_case(type, "application/x-www-form-urlencoded")) return MediaType::form;
  if (equals_ignoring_case(type, "text/plain")) return MediaType::text;
  return MediaType::other;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

Accepts watched(std::string_view type) {
  const std::string_view what = trimmed(type.substr(std::min(type.size(), type.find(';') + 1)));
  if (what == "gives=result") return Accepts::watched_result;
  return what == "gives=items" ? Accepts::watched_items : Accepts::watched;
}

Accepts accepted(std::string_view value) {
  Accepts best = Accepts::anything;
  bool any = false;
  while (!value.empty()) {
    const std::string_view one = value.substr(0, value.find(','));
    value.remove_prefix(std::min(value.size(), one.size() + 1));
    const std::string_view type = trimmed(one.substr(0, one.find(';')));
    if (equals_ignoring_case(type, "text/event-stream")) return Accepts::events;
    if (equals_ignoring_case(type, "application/x-ember-items")) return Accepts::items;
    if (equals_ignoring_case(type, "application/x-ember-watched")) return watched(one);
    if (equals_ignoring_case(type, "application/x-ndjson")) best = Accepts::ndjson;
    const bool json = equals_ignoring_case(type, "application/json");
    if (json && best == Accepts::anything) best = Accepts::json;
    any = any || type == "*/*" || equals_ignoring_case(type, "application/*");
  }
  return any ? Accepts::anything : best;
}

// 16 bytes in base 64.
bool is_websocket_key(std::string_view key) {
  const auto is_digit = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' ||
           c == '/';
  };
  return key.size() == 24 && key.ends_with("==") &&
         std::ranges::all_of(key.substr(0, 22), is_digit);
}

constexpr ParseFailure kBareLineFeed{400, "a line ends with a line feed alone"};

// Whether a line feed stands without a carriage return in bytes that begin where a line does.
bool has_bare_line_feed(std::string_view bytes) {
  std::size_t at = bytes.find('\n');
  while (at != std::string_view::npos && at > 0 && bytes[at - 1] == '\r') {
    at = bytes.find('\n', at + 1);
  }
  return at != std::string_view::npos;
}

std::string_view first_line(std::string_view bytes) {
  return bytes.substr(0, bytes.find('\n') + 1);
}

// The line of a chunk's size, behind the end of the chunk before it.
std::string_view chunk_line(std::string_view bytes) {
  return first_line(bytes.substr(bytes.starts_with("\r\n") ? 2 : 0));
}

ParseFailure failure_of(const error_code& error) {
  if (error == http::error::header_limit) return {431, "the header fields are too large"};
  if (error == http::error::body_limit) return {413, "the body is too large"};
  if (error == http::error::bad_version) return {505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  if (error == http::error::bad_content_length || error == http::error::multiple_content_length) {
    return {400, "Content-Length is not one plain number, or comes with Transfer-Encoding"};
  }
  if (error == http::error::bad_transfer_encoding) {
    return {400, "Transfer-Encoding is repeated or comes with Content-Length"};
  }
  if (error == http::error::bad_chunk || error == http::error::bad_chunk_extension) {
    return {400, "a chunk of the body is malformed"};
  }
  return {400, "the bytes received are not an HTTP request"};
}

// Whether a line is "METHOD TARGET HTTP/D.D": of another version, then, and not of another form.
bool names_a_version(std::string_view line) {
  constexpr std::string_view kForm = " HTTP/D.D\r\n";
  if (line.size() < kForm.size() || std::ranges::count(line, ' ') != 2) return false;
  line.remove_prefix(line.size() - kForm.size());
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return line.starts_with(kForm.substr(0, 6)) && is_digit(line[6]) && line[7] == '.' &&
         is_digit(line[8]) && line.ends_with("\r\n");
}

ParseFailure failure_at(const error_code& error, std::string_view line) {
  if (error != http::error::bad_version) return failure_of(error);
  if (has_bare_line_feed(line)) return kBareLineFeed;
  return failure_of(names_a_version(line) ? error : http::error::bad_method);
}

// Copies what matters out of Beast's callbacks, so that no view outlives the bytes fed.
class Reader final : public http::basic_parser<true> {
 public:
  Reader(RequestHead& head, ParseFailure& failure, HeadKept kept)
      : head_(head), failure_(failure), kept_(kept) {}

  std::string* body = nullptr;  // where chunks go
  std::string_view fed;         // the bytes of the current put()

  // Whether the next byte belongs to a line, not to a chunk's content.
  bool reads_lines() const { return chunk_bytes_left_ == 0; }

 private:
  void refuse(error_code& error, std::string_view message, int status = 400) {
    failure_ = {status, message};
    error = http::error::bad_field;
  }

  void on_request_impl(http::verb verb, BeastView method, BeastView target, int version,
                       error_code& error) override {
    if (kept_ == HeadKept::all) head_.verb.assign(method.data(), method.size());
    head_.method = method_of(verb);
    head_.target.assign(target.data(), target.size());
    head_.path_size = std::min(head_.target.find('?'), head_.target.size());
    head_.http11 = version == 11;
    if (!head_.target.starts_with('/')) refuse(error, "the request target must be a path");
    if (head_.target.find('#') != std::string::npos) refuse(error, "a '#' in the request target");
  }

  void on_field_impl(http::field field, BeastView name, BeastView value,
                     error_code& error) override {
    if (is_folded(view(name))) {
      return refuse(error, "a header field is folded over several lines");
    }
    if (in_trailers_) return count_aside(name.size() + value.size(), error);
    if (kept_ == HeadKept::all) {
      head_.fields.append(view(name)).append(": ").append(view(value)).append("\r\n");
    }
    switch (field) {
      case http::field::host:
        return on_host(view(value), error);
      case http::field::content_length:
        return on_content_length(view(value), error);
      case http::field::transfer_encoding:
        return on_transfer_encoding(view(value), error);
      case http::field::authorization:
        if (!head_.authorization.empty()) return refuse(error, "Authorization is repeated");
        head_.authorization.assign(value.data(), value.size());
        return;
      case http::field::content_type:
        if (head_.media != MediaType::none) return refuse(error, "Content-Type is repeated");
        head_.media = media_of(view(value));
        return;
      case http::field::accept:
        head_.accepts = accepted(view(value));
        return;
      case http::field::upgrade:
        wants_websocket_ = wants_websocket_ || equals_ignoring_case(view(value), "websocket");
        return;
      case http::field::sec_websocket_version:
        right_version_ = view(value) == "13";
        return;
      case http::field::sec_websocket_key:
        if (!head_.websocket_key.empty()) return refuse(error, "Sec-WebSocket-Key is repeated");
        head_.websocket_key.assign(value.data(), value.size());
        return;
      case http::field::expect:
        if (!equals_ignoring_case(view(value), "100-continue")) {
          return refuse(error, "the only Expect understood is 100-continue", 417);
        }
        head_.expects_continue = true;
        return;
      default:
        if (equals_ignoring_case(view(name), "idempotency-key")) on_key(view(value), error);
        return;
    }
  }

  void on_key(std::string_view value, error_code& error) {
    if (!head_.idempotency_key.empty()) return refuse(error, "Idempotency-Key is repeated");
    if (value.empty()) return refuse(error, "Idempotency-Key is empty");
    head_.idempotency_key.assign(value);
  }

  // Beast unfolds lines that go on in the next; others read them otherwise. `name` lies in `fed`.
  bool is_folded(std::string_view name) const {
    const std::size_t after_name = static_cast<std::size_t>(name.data() - fed.data()) + name.size();
    const std::size_t next_line = fed.find('\n', after_name) + 1;
    return next_line > 0 && next_line < fed.size() &&
           (fed[next_line] == ' ' || fed[next_line] == '\t');
  }

  // Chunk extensions and trailers: read and dropped, but not without end.
  void count_aside(std::size_t bytes, error_code& error) {
    aside_bytes_ += bytes;
    if (aside_bytes_ > kAsideBytes) {
      refuse(error, "the chunk extensions or trailers are too large");
    }
  }

  void on_host(std::string_view value, error_code& error) {
    if (has_host_) return refuse(error, "Host is repeated");
    has_host_ = true;
    if (!std::ranges::all_of(value, is_in_host)) return refuse(error, "Host is not one name");
    head_.host.assign(value);
  }

  void on_content_length(std::string_view value, error_code& error) {
    if (has_content_length_) return refuse(error, "Content-Length is repeated");
    has_content_length_ = true;
    if (value.find_first_not_of("0123456789") != std::string_view::npos) {
      refuse(error, "Content-Length is not one plain number");
    }
  }

  void on_transfer_encoding(std::string_view value, error_code& error) {
    if (!head_.http11) return refuse(error, "Transfer-Encoding in an HTTP/1.0 request");
    if (!equals_ignoring_case(value, "chunked")) {
      return refuse(error, "the only Transfer-Encoding understood is chunked");
    }
  }

  void on_header_impl(error_code& error) override {
    if (head_.http11 && !has_host_) return refuse(error, "Host is missing");
    head_.keep_alive = keep_alive();
    const bool is_upgrade = upgrade() && wants_websocket_ && right_version_ && head_.http11 &&
                            is_websocket_key(head_.websocket_key);
    if (!is_upgrade) head_.websocket_key.clear();
    head_.chunked = chunked();
    head_.content_length = content_length().value_or(0);
    in_trailers_ = true;
  }

  std::size_t on_chunk_body_impl(std::uint64_t left, BeastView text, error_code&) override {
    body->append(text.data(), text.size());
    chunk_bytes_left_ = left - text.size();
    return text.size();
  }

  void on_response_impl(int, BeastView, int, error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(BeastView text, error_code&) override { return text.size(); }
  void on_chunk_header_impl(std::uint64_t size, BeastView extensions, error_code& error) override {
    // Beast lets one stand in quotes.
    if (has_bare_line_feed(view(extensions))) return refuse(error, kBareLineFeed.message);
    count_aside(extensions.size(), error);
    chunk_bytes_left_ = size;
  }
  void on_finish_impl(error_code&) override {}

  RequestHead& head_;
  ParseFailure& failure_;
  const HeadKept kept_;
  bool has_host_ = false;
  bool has_content_length_ = false;
  bool wants_websocket_ = false;
  bool right_version_ = false;
  bool in_trailers_ = false;
  std::uint64_t chunk_bytes_left_ = 0;
  std::size_t aside_bytes_ = 0;
};

}  // namespace

class RequestParser::Impl {
 public:
  Impl(std::size_t head_limit_bytes, HeadKept kept)
      : head_limit_bytes_(head_limit_bytes), kept_(kept) {
    reset();
  }

  void reset() {
    head.authorization.clear();
    head.host.clear();
    head.media = MediaType::none;
    head.accepts = Accepts::anything;
    head.expects_continue = false;
    head.websocket_key.clear();
    head.idempotency_key.clear();
    head.fields.clear();
    failure = {};
    head_bytes_ = 0;
    reader_.emplace(head, failure, kept_);
    reader_->header_limit(static_cast<std::uint32_t>(head_limit_bytes_));
    // Lengths are this server's to check, against the limit of the route.
    reader_->body_limit(boost::none);
  }

  ParseStep feed_head(std::string_view bytes) {
    ParseStep step = put(bytes);
    // Beast's own limit holds for one put(); this one for all of them.
    head_bytes_ += step.consumed;
    const bool done = step.status != ParseStatus::need_more;
    if (head_bytes_ + (done ? 0 : bytes.size() - step.consumed) > head_limit_bytes_) {
      failure = failure_of(http::error::header_limit);
      return {ParseStatus::failed, 0};
    }
    if (step.status == ParseStatus::message_done) step.status = ParseStatus::head_done;
    return step;
  }

  ParseStep feed_chunks(std::string_view bytes, std::string& body, std::size_t limit_bytes) {
    if (bytes.size() < kLeastChunkedBytes) return need_more(0, chunk_line(bytes));
    reader_->eager(true);
    reader_->body = &body;
    ParseStep step = put(bytes);
    reader_->body = nullptr;
    if (step.status == ParseStatus::head_done) step.status = ParseStatus::need_more;
    if (body.size() > limit_bytes) {
      failure = failure_of(http::error::body_limit);
      return {ParseStatus::failed, 0};
    }
    // What stays unconsumed is a chunk's head or the trailers: as bounded as the head.
    if (step.status == ParseStatus::need_more && bytes.size() - step.consumed > head_limit_bytes_) {
      failure = {400, "a chunk header or the trailers are too large"};
      return {ParseStatus::failed, 0};
    }
    return step;
  }

  RequestHead head;
  ParseFailure failure;

 private:
  ParseStep put(std::string_view bytes) {
    reader_->fed = bytes;
    error_code error;
    const std::size_t consumed =
        reader_->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
    if (error && error != http::error::need_more) {
      if (failure.message.empty()) failure = failure_at(error, first_line(bytes));
      return {ParseStatus::failed, 0};
    }
    if (reader_->is_done()) return {ParseStatus::message_done, consumed};
    if (!error && reader_->is_header_done()) return {ParseStatus::head_done, consumed};
    return need_more(consumed, bytes.substr(consumed));
  }

  // Beast waits until `lines` are whole, which with a bare line feed they may never be.
  ParseStep need_more(std::size_t consumed, std::string_view lines) {
    if (reader_->reads_lines() && has_bare_line_feed(lines)) {
      failure = kBareLineFeed;
      return {ParseStatus::failed, 0};
    }
    return {ParseStatus::need_more, consumed};
  }

  std::size_t head_limit_bytes_;
  const HeadKept kept_;
  std::size_t head_bytes_ = 0;
  std::optional<Reader> reader_;
};

RequestParser::RequestParser(std::size_t head_limit_bytes, HeadKept kept)
    : impl_(std::make_unique<Impl>(head_limit_bytes, kept)) {}
RequestParser::~RequestParser() = default;
void RequestParser::reset() { impl_->reset(); }
ParseStep RequestParser::feed_head(std::string_view bytes) { return impl_->feed_head(bytes); }
ParseStep RequestParser::feed_chunks(std::string_view bytes, std::string& body,
                                     std::size_t limit_bytes) {
  return impl_->feed_chunks(bytes, body, limit_bytes);
}
const RequestHead& RequestParser::head() const { return impl_->head; }
const ParseFailure& RequestParser::failure() const { return impl_->failure; }

}  // namespace ember

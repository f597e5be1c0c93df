// Requests to web endpoints: whose they are, and their bodies on their way to the app.
#include <limits>

#include "gateway/bearer_key.h"
#include "gateway/error_response.h"
#include "gateway/forwarded_head.h"
#include "gateway/header_fields.h"
#include "gateway/web_connection.h"
#include "model/ip_address.h"

namespace ember {
namespace {

namespace asio = boost::asio;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::string_view kLocal = "localhost";
constexpr std::string_view kLoopback = "a loopback address";  // as closed_range_of() calls one

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return lower;
}

// What stands in front of ".domain"; "" for anything else.
std::string_view label_before(std::string_view host, std::string_view domain) {
  if (domain.empty() || host.size() < domain.size() + 2 || !host.ends_with(domain)) return {};
  host.remove_suffix(domain.size());
  if (!host.ends_with('.')) return {};
  host.remove_suffix(1);
  return host;
}

}  // namespace

std::size_t WebConnection::take_head(std::string_view bytes) {
  if (!head_begun_) {
    head_begun_ = true;
    since_tick_ = edge_->tick;
  }
  const ParseStep step = parser_.feed_head(bytes);
  if (step.status == ParseStatus::failed) {
    const ParseFailure& failure = parser_.failure();
    keep_alive_ = false;
    refuse(failure.status, ErrorCode::invalid_argument, std::string(failure.message));
    return 0;
  }
  if (step.status == ParseStatus::head_done) on_head();
  return step.consumed;
}

std::string WebConnection::label() const {
  std::string host = lower_case(parser_.head().host);
  const std::size_t colon = host.rfind(':');
  if (colon != host.npos && host.find(']', colon) == host.npos) host.resize(colon);
  std::string_view label = label_before(host, kLocal);
  if (label.empty()) label = label_before(host, edge_->options.domain);
  return std::string(label);
}

void WebConnection::on_head() {
  ++edge_->stats.requests;
  const RequestHead& head = parser_.head();
  keep_alive_ = head.keep_alive;
  head_begun_ = answered_ = broken_ = left_ = false;
  inflow_ = !head.has_body() ? Inflow::none : head.chunked ? Inflow::chunked : Inflow::counted;
  in_left_ = head.content_length;
  state_ = State::relaying;
  since_tick_ = edge_->tick;
  const std::string name = label();
  const auto endpoint = edge_->web.find(name);
  if (!endpoint) {
    return refuse(404, ErrorCode::not_found,
                  name.empty() ? "web endpoints are at http://LABEL.localhost and this port; "
                                 "`ember app list` shows them"
                               : "there is no web endpoint \"" + name.substr(0, 64) +
                                     "\" here; `ember app list` shows those there are");
  }
  if (auto known = check_key(*endpoint); !known) {
    return refuse(401, ErrorCode::unauthenticated, known.error().message);
  }
  if (endpoint->access == WebAccess::open) {
    if (const auto refusal = too_fast(name)) return respond(refusal_response(*refusal));
  }
  start_call(*endpoint);
}

Result<> WebConnection::check_key(const WebEndpoint& endpoint) {
  caller_ = {};
  if (endpoint.access == WebAccess::open) return Ok{};
  const std::string_view key = bearer_key(parser_.head().authorization);
  if (key.empty()) return {ErrorCode::unauthenticated, std::string(kNoKeyCame)};
  const auto known = edge_->control.authenticate(key);
  if (!known) return known.error();
  caller_ = *known;
  return Ok{};
}

// Whose connections are counted together: strangers' as one caller's.
KeyId WebConnection::holder() const { return caller_ ? caller_ : KeyId{~std::uint64_t{0}}; }

void WebConnection::start_call(const WebEndpoint& endpoint) {
  const RequestHead& head = parser_.head();
  const auto authorization =
      endpoint.access == WebAccess::by_key ? Authorization::kept_back : Authorization::passed_on;
  if (auto refusal = edge_->client_calls.refusal(holder(), 0)) return respond_to(*refusal);
  const auto call = edge_->web.start(
      endpoint, forwarded_head(head, client_address(), authorization), caller_, this);
  if (!call) return respond_to(call.refusal());
  call_ = *call;
  edge_->client_calls.add(holder(), 0);
  room_ = static_cast<std::int64_t>(kPieceWindowBytes);
  if (inflow_ == Inflow::none) {
    if (head.websocket_key.empty()) edge_->web.end(call_);
  } else if (head.expects_continue && head.http11) {
    put(kContinue);
  }
}

std::string WebConnection::client_address() const {
  boost::system::error_code error;
  const auto endpoint = socket_.remote_endpoint(error);
  if (error) return "unknown";
  const asio::ip::address address = endpoint.address();
  const bool is_mapped = address.is_v6() && address.to_v6().is_v4_mapped();
  if (!is_mapped) return address.to_string();
  return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
}

// Who asks, as far as requests are counted: a proxy on this machine says whom it asks for. Empty: a
// program of this machine, which nobody has to be kept from.
std::string WebConnection::source() const {
  std::string address = client_address();
  const auto parsed = parse_ip_address(address);
  if (!parsed || closed_range_of(*parsed) != kLoopback) return rated_source(address);
  const std::string clients = joined_values(parser_.head().fields, "x-forwarded-for");
  if (clients.empty()) return "";
  const std::size_t last = clients.find_last_of(", ");
  return rated_source(last == clients.npos ? clients : clients.substr(last + 1));
}

std::optional<CallFailure> WebConnection::too_fast(std::string_view label) const {
  const std::string asker = source();
  if (asker.empty()) return std::nullopt;
  const auto wait = edge_->open_rates.refusal(label, asker, edge_->options.wall_clock());
  if (!wait) return std::nullopt;
  const std::int64_t rate = edge_->options.open_rate.per_second;
  CallFailure refusal{{ErrorCode::resource_exhausted,
                       "this address asks too often: an endpoint without a key takes " +
                           std::to_string(rate) + " requests a second of one; try again later"}};
  refusal.retry_after_s = (wait->us + 999'999) / 1'000'000;
  refusal.limit = {"open_requests_per_second", rate};
  return refusal;
}

std::size_t WebConnection::take_body(std::string_view bytes) {
  since_tick_ = edge_->tick;
  if (inflow_ == Inflow::chunked) return take_chunks(bytes);
  if (inflow_ == Inflow::tunnel) {
    send_piece(std::string(bytes));
    return bytes.size();
  }
  const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(in_left_, bytes.size()));
  in_left_ -= taken;
  send_piece(std::string(bytes.substr(0, taken)));
  if (in_left_ == 0) end_inflow();
  return taken;
}

std::size_t WebConnection::take_chunks(std::string_view bytes) {
  std::string piece;
  const ParseStep step = parser_.feed_chunks(bytes, piece, std::numeric_limits<std::size_t>::max());
  if (step.status == ParseStatus::failed) {
    const ParseFailure failure = parser_.failure();
    give_up_call();
    if (answered_) {
      break_off();
    } else {
      refuse(failure.status, ErrorCode::invalid_argument, std::string(failure.message));
    }
    return 0;
  }
  if (!piece.empty()) send_piece(std::move(piece));
  if (step.status == ParseStatus::message_done) end_inflow();
  return step.consumed;
}

void WebConnection::send_piece(std::string piece) {
  room_ -= static_cast<std::int64_t>(piece.size());
  edge_->web.send(call_, std::move(piece));
}

void WebConnection::end_inflow() {
  inflow_ = Inflow::none;
  edge_->web.end(call_);
}

void WebConnection::on_room(std::size_t bytes) {
  const bool was_full = room_ <= 0;
  room_ += static_cast<std::int64_t>(bytes);
  since_tick_ = edge_->tick;
  if (was_full && room_ > 0) process_soon();
}

}  // namespace ember

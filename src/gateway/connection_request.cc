#include <algorithm>
#include <charconv>

#include "base/assert.h"
#include "gateway/bearer_key.h"
#include "gateway/connection.h"
#include "gateway/error_response.h"
#include "gateway/query.h"

namespace ember {
namespace {

constexpr std::int64_t kMostTtlMs = 7ll * 24 * 3600 * 1000;
constexpr std::size_t kReadAndRefuseBytes = 64u << 10;  // an unwanted body this small is read
constexpr std::size_t kReservedBytes = 8u << 20;        // for a body: no memory until it comes
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// The time taken tells nothing of where the two differ.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

bool is_json(MediaType media) {
  // curl -d says "form" of itself, and hand-written clients nothing or "text".
  return media == MediaType::json || media == MediaType::form || media == MediaType::text ||
         media == MediaType::none;
}

// Not parsed here; but what is no object by its first character need not start a container.
bool begins_an_object(std::string_view json) {
  const std::size_t first = json.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && json[first] == '{';
}

// Which goes first of those that wait for the function.
Result<Priority> priority_of(std::string_view query) {
  const std::string text = query.empty() ? std::string() : Query(query).text("priority");
  if (text.empty()) return Priority{};
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && is_priority(value)) {
    return Priority{static_cast<std::int8_t>(value)};
  }
  return {ErrorCode::invalid_argument, "priority must be -10 to 10"};
}

std::optional<Error> misuse_in_sync(std::string_view mode, std::string_view query) {
  if (!mode.empty() && mode != "sync") {
    return Error{ErrorCode::invalid_argument, "mode must be sync or async"};
  }
  if (query.empty() || Query(query).text("webhook").empty()) return std::nullopt;
  return Error{ErrorCode::invalid_argument,
               "a webhook is told of the end of an asynchronous call; add mode=async"};
}

Response too_large(std::size_t limit_bytes) {
  return error_response(
      {ErrorCode::payload_too_large,
       "the body is over the limit of " + std::to_string(limit_bytes) + " bytes for this path"});
}

Response response_to(const ParseFailure& failure) {
  return error_response(failure.status,
                        {ErrorCode::invalid_argument, std::string(failure.message)});
}

}  // namespace

std::size_t Connection::take_head(std::string_view bytes) {
  if (!head_begun_) {
    head_begun_ = true;
    since_tick_ = edge_->tick;
  }
  const ParseStep step = parser_.feed_head(bytes);
  if (step.status == ParseStatus::failed) {
    ++edge_->stats.requests;
    refuse_and_close(response_to(parser_.failure()));
  } else if (step.status == ParseStatus::head_done) {
    on_head();
  }
  return step.consumed;
}

void Connection::on_head() {
  ++edge_->stats.requests;
  const RequestHead& head = parser_.head();
  keep_alive_ = head.keep_alive;
  head_begun_ = false;
  if (auto refusal = check_head()) return refuse(std::move(*refusal));
  if (!head.has_body()) return dispatch();
  begin_body();
}

std::optional<Response> Connection::check_head() {
  const RequestHead& head = parser_.head();
  if (!edge_->hosts.allows(head.host)) {
    return error_response({ErrorCode::permission_denied,
                           "this server does not answer to that Host name; use localhost, or "
                           "allow the name: ember up --host-name NAME"});
  }
  Match match = find_route(edge_->routes, head.method, head.path(), parameters_);
  route_ = match.route;
  if (route_ == nullptr || route_->needs_key) {
    if (auto refusal = check_key()) return refusal;
  }
  if (route_ != nullptr) return check_route();
  if (match.allowed.empty()) {
    return error_response({ErrorCode::not_found,
                           "there is nothing at this path; /api/openapi.json lists the routes"});
  }
  Response response = error_response(
      405, {ErrorCode::invalid_argument, "this path takes " + match.allowed + " only"});
  response.headers.append("Allow: ").append(match.allowed).append("\r\n");
  return response;
}

std::optional<Response> Connection::check_key() {
  const std::string_view key = bearer_key(parser_.head().authorization);
  if (key.empty()) {
    return error_response({ErrorCode::unauthenticated, std::string(kNoKeyCame)});
  }
  // Looked up again once a second, for its expiry, and when any key has changed: one that is
  // revoked opens nothing any more.
  const std::uint64_t changes = edge_->control.key_changes();
  const bool is_fresh = key_tick_ == edge_->tick && key_changes_ == changes;
  if (is_fresh && equal_in_constant_time(key, key_)) return std::nullopt;
  const auto id = edge_->control.authenticate(key);
  if (!id) return error_response(id.error());
  key_.assign(key);
  key_id_ = *id;
  key_tick_ = edge_->tick;
  key_changes_ = changes;
  return std::nullopt;
}

bool Connection::key_is_good() {
  return route_ == nullptr || !route_->needs_key || edge_->control.authenticate(key_).ok();
}

std::optional<Response> Connection::check_route() {
  const RequestHead& head = parser_.head();
  body_limit_bytes_ = route_->body_limit_bytes;
  if (head.content_length > body_limit_bytes_) {
    return too_large(body_limit_bytes_);
  }
  const bool is_call = route_->handler == nullptr;
  if (is_call && !is_json(head.media) && head.media != MediaType::pickle) {
    return error_response(415, {ErrorCode::invalid_argument,
                                "a call takes application/json or application/x-ember-pickle"});
  }
  return std::nullopt;
}

// An answer that needs no body: a small body is read first, so that the connection stays in step;
// a large one is not worth it.
void Connection::refuse(Response response) {
  const RequestHead& head = parser_.head();
  const bool small = !head.chunked && head.content_length <= kReadAndRefuseBytes;
  if (head.has_body() && (!small || head.expects_continue)) {
    return refuse_and_close(std::move(response));
  }
  refusal_ = std::move(response);
  if (!head.has_body()) return dispatch();
  state_ = State::body;
  since_tick_ = edge_->tick;
}

void Connection::refuse_and_close(Response response) {
  keep_alive_ = false;
  state_ = State::waiting;
  uncharge_body();
  body_ = {};
  respond(std::move(response));
}

void Connection::begin_body() {
  const RequestHead& head = parser_.head();
  body_.reserve(std::min<std::size_t>(head.content_length, kReservedBytes));
  state_ = State::body;
  since_tick_ = edge_->tick;
  if (head.expects_continue && head.http11) {
    output_.text().append(kContinue);
    flush();
  }
}

// Counts bytes that have come against what all requests together may hold; refuses if that is too
// much. Bytes that are only promised take no memory, and no room from others.
bool Connection::charge_body(std::size_t bytes) {
  if (edge_->body_bytes + bytes > edge_->options.limits.all_bodies_bytes) {
    refuse_and_close(error_response(
        {ErrorCode::unavailable, "too many large requests are arriving; try again"}));
    return false;
  }
  edge_->body_bytes += bytes;
  charged_bytes_ += bytes;
  return true;
}

void Connection::uncharge_body() {
  EMBER_ASSERT(edge_->body_bytes >= charged_bytes_);
  edge_->body_bytes -= charged_bytes_;
  charged_bytes_ = 0;
}

std::size_t Connection::take_body(std::string_view bytes) {
  if (parser_.head().chunked) return take_chunks(bytes);
  const std::size_t wanted = parser_.head().content_length - body_.size();
  const std::size_t taken = std::min(wanted, bytes.size());
  if (!charge_body(taken)) return 0;
  body_.append(bytes.substr(0, taken));
  if (taken == wanted) dispatch();
  return taken;
}

std::size_t Connection::take_chunks(std::string_view bytes) {
  const std::size_t before = body_.size();
  const ParseStep step = parser_.feed_chunks(bytes, body_, body_limit_bytes_);
  if (step.status == ParseStatus::failed) {
    const ParseFailure& failure = parser_.failure();
    refuse_and_close(failure.status == 413 ? too_large(body_limit_bytes_) : response_to(failure));
    return 0;
  }
  if (!charge_body(body_.size() - before)) return 0;
  if (step.status == ParseStatus::message_done) dispatch();
  return step.consumed;
}

void Connection::dispatch() {
  state_ = State::waiting;
  uncharge_body();
  if (refusal_) {
    body_ = {};
    Response response = std::move(*refusal_);
    refusal_.reset();
    return respond(std::move(response));
  }
  if (route_->handler == nullptr) return make_call();
  ApiRequest request{edge_->control, edge_->stats,
                     parameters_,    parser_.head().query(),
                     body_,          edge_->options.wall_clock(),
                     key_id_,        parser_.head().media};
  route_->handler(request, Reply(weak_from_this()));
  body_ = {};
}

void Connection::make_call() {
  const MediaType media = parser_.head().media;
  Body arguments{media == MediaType::pickle ? BodyFormat::pickle : BodyFormat::json,
                 std::move(body_)};
  body_ = {};
  if (arguments.format == BodyFormat::json) {
    if (arguments.bytes.empty()) arguments.bytes = "{}";
    if (!begins_an_object(arguments.bytes)) {
      return respond(error_response({ErrorCode::invalid_argument,
                                     "the body is not a JSON object of arguments; send {} or "
                                     "{\"name\": value}"}));
    }
  }
  const std::string_view query = parser_.head().query();
  const std::string mode = query.empty() ? std::string() : Query(query).text("mode");
  if (mode == "async") return spawn_call(std::move(arguments));
  if (auto wrong = misuse_in_sync(mode, query)) return respond(error_response(*wrong));
  const std::size_t bytes = arguments.bytes.size();
  if (const auto refusal = edge_->client_calls.refusal(key_id_, bytes)) {
    return respond(refusal_response(*refusal));
  }
  const std::string variant = query.empty() ? std::string() : Query(query).text("variant");
  const auto priority = priority_of(query);
  if (!priority) return respond(error_response(priority.error()));
  const auto call = edge_->control.start_call(
      {parameters_[0], parameters_[1], std::move(arguments), key_id_, variant, wants(), *priority},
      this);
  if (!call) return respond(refusal_response(call.refusal()));
  call_ = *call;
  call_bytes_ = bytes;
  edge_->client_calls.add(key_id_, bytes);
  if (!tells_how_it_goes()) return;
  const CallStatus status = edge_->control.call_status(call_);
  if (status.phase == CallPhase::running) return;
  open_items();
  tell_status(status);
}

// Answered once it is on disk; from then on it needs nobody.
void Connection::spawn_call(Body arguments) {
  const RequestHead& head = parser_.head();
  const auto ttl_ms = Query(head.query()).number("ttl_ms");
  if (ttl_ms && (*ttl_ms < 1 || *ttl_ms > kMostTtlMs)) {
    return respond(
        error_response({ErrorCode::invalid_argument, "ttl_ms must be 1 to 604800000: a week"}));
  }
  const auto priority = priority_of(head.query());
  if (!priority) return respond(error_response(priority.error()));
  edge_->control.async_calls().spawn(
      {.app = parameters_[0],
       .function = parameters_[1],
       .variant = Query(head.query()).text("variant"),
       .arguments = std::move(arguments),
       .caller = key_id_,
       .idempotency_key = head.idempotency_key,
       .time_to_live = Duration::milliseconds(ttl_ms.value_or(0)),
       .priority = *priority,
       .webhook = Query(head.query()).text("webhook")},
      [reply = Reply(weak_from_this())](const StartedCall& call, Acceptance acceptance) {
        reply.send(spawned_response(call, acceptance));
      });
}

void Connection::let_go_of_call() {
  call_ = {};
  edge_->client_calls.remove(key_id_, call_bytes_);
}

}  // namespace ember

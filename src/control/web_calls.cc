#include "control/web_calls.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace ember {

class WebCalls::Exchange final : public CallWaiter {
 public:
  Exchange(WebCalls& owner, CallId id, WebClient* its_client)
      : call(id), client(its_client), owner_(owner) {}

  // An empty one ends the answer, and what the app still does is its own.
  void on_item(Body item) override {
    if (!item.bytes.empty()) return client->on_piece(std::move(item.bytes));
    const auto self = owner_.take(call);
    owner_.parts_.calls.leave(call);
    client->on_end();
  }
  void on_result(Body, const CallReport&) override {
    const auto self = owner_.take(call);
    client->on_end();
  }
  void on_failure(CallFailure failure, const CallReport&) override {
    const auto self = owner_.take(call);
    client->on_failure(std::move(failure));
  }

  const CallId call;
  WebClient* const client;
  ContainerId container;  // zero: it is on none yet
  Attempt attempt = 0;
  std::vector<std::string> held;  // pieces, until it is on one; "" for the end
  std::size_t open_bytes = 0;     // of the pieces, not taken yet

 private:
  WebCalls& owner_;
};

WebCalls::WebCalls(Parts parts) : parts_(std::move(parts)) {}
WebCalls::~WebCalls() = default;

std::optional<WebEndpoint> WebCalls::find(std::string_view label) const {
  const Callable found = parts_.catalog.find_label(label);
  if (!found.function) return std::nullopt;
  const Function& function = **found.function;
  return WebEndpoint{function.app_name, callable_name(function, found.method),
                     web_of(function.spec, found.method)->access};
}

StartedCall WebCalls::start(const WebEndpoint& endpoint, std::string head, KeyId caller,
                            WebClient* client) {
  if (auto open = parts_.is_open(); !open) return std::move(open).error();
  const CallId id{parts_.ids.next(parts_.driver.now())};
  auto made = std::make_unique<Exchange>(*this, id, client);
  Exchange* exchange = made.get();
  exchanges_[id] = std::move(made);  // before the start: that may be the dispatch, too
  CallRequest request{.app = endpoint.app,
                      .function = endpoint.function,
                      .arguments = {BodyFormat::bytes, std::move(head)},
                      .caller = caller,
                      .wants = CallWants::exchange};
  auto started = parts_.calls.start(std::move(request), exchange, Origin::outside, {.id = id});
  if (!started) take(id);
  return started;
}

WebCalls::Exchange* WebCalls::find(CallId call) {
  const auto found = exchanges_.find(call);
  return found == exchanges_.end() ? nullptr : found->second.get();
}

std::unique_ptr<WebCalls::Exchange> WebCalls::take(CallId call) {
  const auto found = exchanges_.find(call);
  if (found == exchanges_.end()) return nullptr;
  auto exchange = std::move(found->second);
  exchanges_.erase(found);
  return exchange;
}

void WebCalls::send_on(const Exchange& exchange, std::string piece) {
  parts_.containers.send(exchange.container,
                         {0, FrameType::piece, 0, exchange.attempt, exchange.call.value}, {},
                         std::move(piece));
}

void WebCalls::send(CallId call, std::string piece) {
  Exchange* exchange = find(call);
  if (!exchange || piece.empty()) return;
  exchange->open_bytes += piece.size();
  if (exchange->container) return send_on(*exchange, std::move(piece));
  exchange->held.push_back(std::move(piece));
}

void WebCalls::end(CallId call) {
  Exchange* exchange = find(call);
  if (!exchange) return;
  if (exchange->container) return send_on(*exchange, {});
  exchange->held.emplace_back();
}

void WebCalls::accept(CallId call, StreamCredit gone) { parts_.calls.accept_items(call, gone); }

void WebCalls::abandon(CallId call) {
  const auto exchange = take(call);
  if (exchange) parts_.calls.abandon(call);
}

void WebCalls::dispatched(const DispatchInput& action) {
  Exchange* exchange = find(CallId{action.input.value});
  if (!exchange) return;
  exchange->container = action.container;
  exchange->attempt = action.attempt;
  for (std::string& piece : std::exchange(exchange->held, {})) send_on(*exchange, std::move(piece));
  parts_.driver.handle(InputPinned{action.input, action.attempt, action.container});
}

void WebCalls::on_room(const Container& container, const FrameHeader& header,
                       const std::string& body) {
  Exchange* exchange = find(CallId{header.stream});
  const auto given = decode_credit(body);
  if (!exchange || !given || exchange->container != container.id) return;
  const std::size_t taken = std::min<std::size_t>(given->bytes, exchange->open_bytes);
  exchange->open_bytes -= taken;
  if (taken > 0) exchange->client->on_room(taken);
}

}  // namespace ember

// Web endpoints for the gateway's tests: remembers what was sent to them.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/web_service.h"

namespace ember {

class FakeWeb final : public WebService {
 public:
  struct Request {
    CallId id;
    std::string head;
    KeyId caller;
    WebClient* client = nullptr;
    std::string body = {};
    bool ended = false;
  };

  // --- what tests set ---
  std::map<std::string, WebEndpoint, std::less<>> endpoints;
  std::optional<CallFailure> refuse;

  // --- what tests look at ---
  std::deque<Request> requests;
  std::vector<CallId> abandoned;
  StreamCredit accepted;

  std::optional<WebEndpoint> find(std::string_view label) const override {
    const auto found = endpoints.find(label);
    return found == endpoints.end() ? std::nullopt : std::optional(found->second);
  }
  StartedCall start(const WebEndpoint&, std::string head, KeyId caller,
                    WebClient* client) override {
    if (refuse) return *refuse;
    requests.push_back({CallId{++last_call_}, std::move(head), caller, client});
    return requests.back().id;
  }
  void send(CallId call, std::string piece) override { with(call).body += piece; }
  void end(CallId call) override { with(call).ended = true; }
  void accept(CallId, StreamCredit gone) override {
    accepted.items += gone.items;
    accepted.bytes += gone.bytes;
  }
  void abandon(CallId call) override { abandoned.push_back(call); }

 private:
  Request& with(CallId call) { return requests[call.value - 1]; }

  std::uint64_t last_call_ = 0;
};

}  // namespace ember

// Requests to web endpoints on their way: calls whose arguments are a request's head and whose
// items are the answer, beside which the request's body travels in pieces.
//
// A request runs once: it is pinned as soon as it is on a container, whose end is its end. Who
// takes sets the pace of what is sent to it, both ways.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "control/calls.h"
#include "control/web_service.h"

namespace ember {

class WebCalls final : public WebService {
 public:
  struct Parts {
    EngineDriver& driver;
    const AppCatalog& catalog;
    Calls& calls;
    Containers& containers;
    IdSource& ids;
    std::function<Result<>()> is_open;  // whether calls are taken
  };

  explicit WebCalls(Parts parts);
  ~WebCalls() override;
  WebCalls(const WebCalls&) = delete;
  WebCalls& operator=(const WebCalls&) = delete;

  std::optional<WebEndpoint> find(std::string_view label) const override;
  StartedCall start(const WebEndpoint& endpoint, std::string head, KeyId caller,
                    WebClient* client) override;
  void send(CallId call, std::string piece) override;
  void end(CallId call) override;
  void accept(CallId call, StreamCredit gone) override;
  void abandon(CallId call) override;

  // The engine has had any input sent to a container.
  void dispatched(const DispatchInput& action);
  // A runner's Room.
  void on_room(const Container& container, const FrameHeader& header, const std::string& body);

 private:
  class Exchange;

  Exchange* find(CallId call);
  std::unique_ptr<Exchange> take(CallId call);
  void send_on(const Exchange& exchange, std::string piece);

  Parts parts_;
  boost::unordered_flat_map<CallId, std::unique_ptr<Exchange>, IdHash> exchanges_;
};

}  // namespace ember

// Maps: many calls of one function over one connection (docs/reference/http.md). Each input is a
// call as any other, with an id, a place in the queue and a price of its own; the session only
// carries what goes in and what comes out, and withdraws all that is left when its client goes.
//
// Nothing grows with the length of a map. The client may have so many inputs, and so many bytes of
// them, unanswered as it has been told; results that it does not take hold up the inputs behind
// them. An input that finds the function's queue full stays in the session and is tried again; so
// does one of a variant, while that is made anew of the app's next version.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string_view>

#include "control/app_catalog.h"
#include "control/calls.h"
#include "control/engine_driver.h"
#include "control/messages.h"

namespace ember {

inline constexpr std::size_t kLeastMapInputs = 64;          // unanswered, of one session
inline constexpr std::size_t kMostMapInputs = 2048;         // the same, however large the pool is
inline constexpr std::size_t kMapInputBytes = 32u << 20;    // unanswered; one alone may be larger
inline constexpr std::size_t kMapResultBytes = 512u << 10;  // sent and not yet taken
inline constexpr std::size_t kMapsOfCaller = 16;
inline constexpr std::size_t kMapsOfAll = 64;

class MapSessions {
 public:
  struct Parts {
    boost::asio::io_context& loop;
    EngineDriver& driver;
    const AppCatalog& catalog;
    Calls& calls;
    // As HTTP's: one of the function's current version.
    std::function<void(const std::string& app, const std::string& function,
                       const std::string& request_json, std::function<void(Result<std::string>)>)>
        make_variant;
    std::function<Result<>()> is_open;  // whether new calls are taken at all
  };

  explicit MapSessions(Parts parts) : parts_(std::move(parts)) {}

  // The client is borrowed for as long as the session lives.
  Result<std::unique_ptr<MessageSession>> open(const MapRequest& request, MessageClient& client);

 private:
  class Session;

  Parts parts_;
  std::size_t sessions_ = 0;
  std::map<KeyId, std::size_t> of_caller_;
};

}  // namespace ember

// Sends webhooks to receivers that nobody vouches for: looks their name up, checks its addresses,
// and connects to one that it has checked, so that no name leads inward. It follows no redirect,
// keeps no connection, reads little of an answer, and takes a bounded time for all of it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/wall_clock.h"
#include "control/webhook_sender.h"

namespace ember {

struct WebhookClientOptions {
  using Addresses = Result<std::vector<IpAddress>>;

  std::vector<IpNetwork> allowed = {};  // beside the public internet
  Duration time_limit = Duration::seconds(15);
  Time (*wall_clock)() = ember::wall_clock;
  // Runs on a thread of its own, and may block. By default it asks the machine's name servers.
  std::function<Addresses(const std::string& name)> look_up = {};
  std::function<void(const IpAddress&)> on_dial = {};  // told of each address before it is dialled
};

// Borrows the loop, which outlives it. What is under way when it goes is never answered.
std::unique_ptr<WebhookSender> make_webhook_client(boost::asio::io_context& loop,
                                                   WebhookClientOptions options);

}  // namespace ember

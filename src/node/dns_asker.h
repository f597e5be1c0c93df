// Asks the machine's name servers on behalf of others: by datagram, from a port of its own each
// time and under an id that nobody can guess, and by TCP where the answer does not fit.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <functional>
#include <optional>
#include <vector>

#include "node/dns_message.h"

namespace ember {

// In the order in which they are asked.
using DnsServers = std::function<std::vector<boost::asio::ip::udp::endpoint>()>;

// Those of /etc/resolv.conf, as it is at the moment.
std::vector<boost::asio::ip::udp::endpoint> machine_name_servers();

// Calls back once, from the loop: with the first answer, or with nothing where none comes in time.
void ask_name_servers(boost::asio::io_context& loop, const DnsServers& servers,
                      DnsQuestion question, std::function<void(std::optional<DnsAnswer>)> done);

}  // namespace ember

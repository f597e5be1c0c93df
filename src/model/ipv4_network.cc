#include "model/ipv4_network.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace ember {
namespace {

constexpr std::uint32_t mask_of(int prefix_bits) {
  return prefix_bits == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix_bits);
}

}  // namespace

std::string Ipv4Network::text() const {
  char dotted[INET_ADDRSTRLEN] = {};
  const in_addr network_order{htonl(address)};
  ::inet_ntop(AF_INET, &network_order, dotted, sizeof(dotted));
  return dotted + ("/" + std::to_string(prefix_bits));
}

bool Ipv4Network::covers(const Ipv4Network& other) const {
  return prefix_bits <= other.prefix_bits && (other.address & mask_of(prefix_bits)) == address;
}

Result<Ipv4Network> parse_network(std::string_view text) {
  const auto slash = std::min(text.find('/'), text.size());
  const std::string_view bits = slash < text.size() ? text.substr(slash + 1) : "32";
  Ipv4Network network;
  in_addr network_order{};
  const auto [end, error] =
      std::from_chars(bits.data(), bits.data() + bits.size(), network.prefix_bits);
  if (text.find('\0') != std::string_view::npos ||
      ::inet_pton(AF_INET, std::string(text.substr(0, slash)).c_str(), &network_order) != 1 ||
      error != std::errc() || end != bits.data() + bits.size() || network.prefix_bits < 0 ||
      network.prefix_bits > 32) {
    return {ErrorCode::invalid_argument, "\"" + std::string(text) +
                                             "\" is no IPv4 network such as 192.168.7.0/24 or "
                                             "192.168.7.1"};
  }
  network.address = ntohl(network_order.s_addr) & mask_of(network.prefix_bits);
  return network;
}

}  // namespace ember

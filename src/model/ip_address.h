// Addresses of both families of IP, networks of them, and which are of the public internet.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ember {

struct IpAddress {
  enum class Family : std::uint8_t { v4, v6 };
  Family family = Family::v4;
  std::array<std::uint8_t, 16> bytes = {};  // as on the wire; of IPv4 the first four

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

// Four decimal numbers, or IPv6 without a zone. Nothing for the other ways in which some programs
// write addresses: octal, hexadecimal or fewer numbers.
std::optional<IpAddress> parse_ip_address(std::string_view text);

struct IpNetwork {
  IpAddress address;
  int prefix_bits = 0;

  bool has(const IpAddress& one) const;
};

// "10.0.0.0/8", "fd00::/8"; an address alone is a network of one.
Result<IpNetwork> parse_ip_network(std::string_view text);

// What an address is that is not of the public internet: "a loopback address". Empty: it is of it.
std::string_view closed_range_of(const IpAddress& address);
// The same, less the networks that are allowed.
std::string_view closed_range_of(const IpAddress& address, const std::vector<IpNetwork>& allowed);

}  // namespace ember

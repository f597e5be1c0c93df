// A network of IPv4: what CIDR notation names.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ember {

struct Ipv4Network {
  std::uint32_t address = 0;  // in the host's byte order; zero beyond the prefix
  int prefix_bits = 32;

  std::string text() const;  // "10.0.0.0/8"
  bool covers(const Ipv4Network& other) const;
  auto operator<=>(const Ipv4Network&) const = default;
};

// "192.168.7.0/24"; an address alone is a network of one.
Result<Ipv4Network> parse_network(std::string_view text);

}  // namespace ember

// The addresses that are not of the public internet: what IANA's registries of special addresses
// call not globally reachable, and those at which clouds tell a machine its secrets.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/ip_address.h"
#include "model/ipv4_network.h"

namespace ember {

struct ClosedRange {
  IpAddress::Family family;
  std::array<std::uint8_t, 16> bytes;
  int prefix_bits;
  std::string_view what;            // one of its addresses is
  bool in_documents_alone = false;  // nobody's, and so nobody's to be kept from
};

std::span<const ClosedRange> closed_ranges();
// Those of IPv4 in which something may lie, as networks; not loopback, which is each machine's own.
std::vector<Ipv4Network> closed_ipv4_networks();

}  // namespace ember

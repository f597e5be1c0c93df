#include "model/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "model/closed_ranges.h"

namespace ember {
namespace {

using Family = IpAddress::Family;

int bits_of(Family family) { return family == Family::v4 ? 32 : 128; }

// Of IPv6 nothing else is handed out to anybody's machines.
constexpr ClosedRange kGlobalUnicast{Family::v6, {0x20}, 3, ""};

bool begins_alike(const std::array<std::uint8_t, 16>& a, const std::array<std::uint8_t, 16>& b,
                  int bits) {
  const auto whole = static_cast<std::size_t>(bits / 8);
  if (!std::equal(a.begin(), a.begin() + whole, b.begin())) return false;
  const int rest = bits % 8;
  return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool is_in(const IpAddress& address, const ClosedRange& range) {
  return address.family == range.family &&
         begins_alike(address.bytes, range.bytes, range.prefix_bits);
}

}  // namespace

std::optional<IpAddress> parse_ip_address(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  const std::string word(text);
  IpAddress address;
  if (::inet_pton(AF_INET, word.c_str(), address.bytes.data()) == 1) return address;
  address.family = Family::v6;
  if (::inet_pton(AF_INET6, word.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

bool IpNetwork::has(const IpAddress& one) const {
  return one.family == address.family && begins_alike(one.bytes, address.bytes, prefix_bits);
}

Result<IpNetwork> parse_ip_network(std::string_view text) {
  const auto slash = std::min(text.find('/'), text.size());
  const auto address = parse_ip_address(text.substr(0, slash));
  IpNetwork network;
  bool is_network = address.has_value();
  if (is_network) {
    network = {*address, bits_of(address->family)};
    const std::string_view bits = slash < text.size() ? text.substr(slash + 1) : "";
    const auto [end, error] =
        std::from_chars(bits.data(), bits.data() + bits.size(), network.prefix_bits);
    is_network = slash == text.size() || (error == std::errc() && end == bits.data() + bits.size());
  }
  if (is_network && network.prefix_bits >= 0 && network.prefix_bits <= bits_of(address->family)) {
    return network;
  }
  return {ErrorCode::invalid_argument,
          "\"" + std::string(text) + "\" is no network such as 192.168.7.0/24 or fd00::/8"};
}

std::string_view closed_range_of(const IpAddress& address) {
  for (const ClosedRange& range : closed_ranges()) {
    if (is_in(address, range)) return range.what;
  }
  return address.family == Family::v6 && !is_in(address, kGlobalUnicast) ? "a reserved address"
                                                                         : "";
}

std::string_view closed_range_of(const IpAddress& address, const std::vector<IpNetwork>& allowed) {
  const bool is_allowed =
      std::ranges::any_of(allowed, [&](const IpNetwork& network) { return network.has(address); });
  return is_allowed ? std::string_view() : closed_range_of(address);
}

}  // namespace ember

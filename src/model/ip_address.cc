#include "model/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace ember {
namespace {

using Family = IpAddress::Family;

int bits_of(Family family) { return family == Family::v4 ? 32 : 128; }

struct ClosedRange {
  Family family;
  std::array<std::uint8_t, 16> bytes;
  int prefix_bits;
  std::string_view what;
};

constexpr Family v4 = Family::v4, v6 = Family::v6;

// What IANA's registries of special addresses call not globally reachable, and the addresses at
// which clouds tell a machine its secrets.
constexpr ClosedRange kClosed[] = {
    {v4, {0}, 8, "an address of no machine"},
    {v4, {10}, 8, "a private address"},
    {v4, {100, 64}, 10, "an address behind a carrier's translation"},
    {v4, {127}, 8, "a loopback address"},
    {v4, {168, 63, 129, 16}, 32, "a cloud's metadata address"},
    {v4, {169, 254}, 16, "a link-local address"},
    {v4, {172, 16}, 12, "a private address"},
    {v4, {192, 0, 0}, 24, "a reserved address"},
    {v4, {192, 0, 2}, 24, "a reserved address"},
    {v4, {192, 88, 99}, 24, "a reserved address"},
    {v4, {192, 168}, 16, "a private address"},
    {v4, {198, 18}, 15, "a reserved address"},
    {v4, {198, 51, 100}, 24, "a reserved address"},
    {v4, {203, 0, 113}, 24, "a reserved address"},
    {v4, {224}, 4, "a multicast address"},
    {v4, {240}, 4, "a reserved address"},
    {v6, {0x20, 0x01, 0x00}, 23, "a reserved address"},
    {v6, {0x20, 0x01, 0x0d, 0xb8}, 32, "a reserved address"},
    {v6, {0x20, 0x02}, 16, "an address that stands for an IPv4 one"},
    {v6, {0x3f, 0xff}, 20, "a reserved address"},
    {v6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, "a loopback address"},
    {v6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, "an address that stands for an IPv4 one"},
    {v6, {0, 0x64, 0xff, 0x9b}, 32, "an address that stands for an IPv4 one"},
    {v6, {0xfc}, 7, "a private address"},
    {v6, {0xfe, 0x80}, 10, "a link-local address"},
    {v6, {0xff}, 8, "a multicast address"},
};
// Of IPv6 nothing else is handed out to anybody's machines.
constexpr ClosedRange kGlobalUnicast{v6, {0x20}, 3, ""};

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
  const auto* range =
      std::ranges::find_if(kClosed, [&](const ClosedRange& one) { return is_in(address, one); });
  if (range != std::end(kClosed)) return range->what;
  return address.family == v6 && !is_in(address, kGlobalUnicast) ? "a reserved address" : "";
}

std::string_view closed_range_of(const IpAddress& address, const std::vector<IpNetwork>& allowed) {
  const bool is_allowed =
      std::ranges::any_of(allowed, [&](const IpNetwork& network) { return network.has(address); });
  return is_allowed ? std::string_view() : closed_range_of(address);
}

}  // namespace ember

#include "model/closed_ranges.h"

namespace ember {
namespace {

constexpr IpAddress::Family v4 = IpAddress::Family::v4, v6 = IpAddress::Family::v6;
constexpr std::uint8_t kLoopback = 127;

constexpr ClosedRange kClosed[] = {
    {v4, {0}, 8, "an address of no machine"},
    {v4, {10}, 8, "a private address"},
    {v4, {100, 64}, 10, "an address behind a carrier's translation"},
    {v4, {127}, 8, "a loopback address"},
    {v4, {168, 63, 129, 16}, 32, "a cloud's metadata address"},
    {v4, {169, 254}, 16, "a link-local address"},
    {v4, {172, 16}, 12, "a private address"},
    {v4, {192, 0, 0}, 24, "a reserved address"},
    {v4, {192, 0, 2}, 24, "a reserved address", true},
    {v4, {192, 88, 99}, 24, "a reserved address"},
    {v4, {192, 168}, 16, "a private address"},
    {v4, {198, 18}, 15, "a reserved address"},
    {v4, {198, 51, 100}, 24, "a reserved address", true},
    {v4, {203, 0, 113}, 24, "a reserved address", true},
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

}  // namespace

std::span<const ClosedRange> closed_ranges() { return kClosed; }

std::vector<Ipv4Network> closed_ipv4_networks() {
  std::vector<Ipv4Network> networks;
  for (const ClosedRange& range : kClosed) {
    if (range.family != v4 || range.bytes[0] == kLoopback || range.in_documents_alone) continue;
    std::uint32_t address = 0;
    for (std::size_t i = 0; i < 4; ++i) address = address << 8 | range.bytes[i];
    networks.push_back({address, range.prefix_bits});
  }
  return networks;
}

}  // namespace ember

#include "gateway/open_rates.h"

#include <algorithm>

#include "model/ip_address.h"

namespace ember {
namespace {

constexpr std::size_t kMostPairs = 10'000;
constexpr std::size_t kBytesOfNetwork = 8;  // of an address of IPv6

}  // namespace

std::optional<Duration> OpenRates::refusal(std::string_view label, std::string_view source,
                                           Time now) {
  if (rate_.per_second <= 0) return std::nullopt;
  const Duration one{1'000'000 / rate_.per_second};
  const Duration burst = Duration::seconds(rate_.burst_seconds);
  Entry& entry = find_or_add(label, source);
  // A clock that was set back owes nobody anything.
  const Time paid_until = std::min(std::max(entry.paid_until, now), now + burst);
  const Time next = paid_until + one;
  const bool fits = next <= now + burst;
  entry.paid_until = fits ? next : paid_until;
  if (fits) return std::nullopt;
  return next - (now + burst);
}

OpenRates::Entry& OpenRates::find_or_add(std::string_view label, std::string_view source) {
  Pair pair{label, source};
  const auto found = all_.find(pair);
  if (found != all_.end()) {
    by_use_.splice(by_use_.begin(), by_use_, found->second.place);
    return found->second;
  }
  if (all_.size() >= kMostPairs) {
    all_.erase(by_use_.back());
    by_use_.pop_back();
  }
  by_use_.push_front(pair);
  return all_.emplace(std::move(pair), Entry{{}, by_use_.begin()}).first->second;
}

std::string rated_source(std::string_view address) {
  const auto parsed = parse_ip_address(address);
  if (!parsed) return "unknown";
  if (parsed->family == IpAddress::Family::v4) return std::string(address);
  const auto* bytes = reinterpret_cast<const char*>(parsed->bytes.data());
  return "net " + std::string(bytes, kBytesOfNetwork);
}

}  // namespace ember

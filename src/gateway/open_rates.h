// How fast one address may ask an endpoint that is open to anybody. Each pair of both has a rate
// with a burst; a request that is refused counts for nothing. Those that asked longest ago are
// forgotten beyond a number of pairs, so that a flood from many addresses takes bounded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/time.h"

namespace ember {

struct OpenRate {
  std::int64_t per_second = 0;  // 0: any number
  std::int64_t burst_seconds = 10;
};

class OpenRates {
 public:
  explicit OpenRates(OpenRate rate) : rate_(rate) {}

  // Counts a request of the source; how long it is to wait, if it is refused.
  std::optional<Duration> refusal(std::string_view label, std::string_view source, Time now);
  std::size_t pairs() const { return all_.size(); }

 private:
  using Pair = std::pair<std::string, std::string>;
  struct Entry {
    Time paid_until;  // all that has been let in would have come by then at the steady rate
    std::list<Pair>::iterator place;
  };

  Entry& find_or_add(std::string_view label, std::string_view source);

  const OpenRate rate_;
  std::map<Pair, Entry> all_;
  std::list<Pair> by_use_;  // the last one first
};

// Whom requests of an address are counted as: an address of IPv6 is one of 2^64 that its holder
// has. What is no address is all one.
std::string rated_source(std::string_view address);

}  // namespace ember

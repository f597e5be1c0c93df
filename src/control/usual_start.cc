#include "control/usual_start.h"

#include <algorithm>

namespace ember {

void UsualStart::add(Duration took) { last_[count_++ % last_.size()] = took; }

std::optional<Duration> UsualStart::duration() const {
  const std::size_t known = std::min(count_, last_.size());
  if (known == 0) return std::nullopt;
  auto sorted = last_;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(known / 2);
  std::nth_element(sorted.begin(), middle, sorted.begin() + static_cast<std::ptrdiff_t>(known),
                   [](Duration a, Duration b) { return a.us < b.us; });
  return *middle;
}

void StartsUnderWay::remove(ContainerId container) {
  std::erase_if(starts_, [container](const auto& start) { return start.first == container; });
}

std::optional<Time> StartsUnderWay::begun(std::size_t place) const {
  if (place >= starts_.size()) return std::nullopt;
  return starts_[place].second;
}

}  // namespace ember

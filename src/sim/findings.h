// Broken invariants, as the checkers find them. The first one ends the run.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace ember {

struct Violation {
  Time at;
  std::string invariant;  // the sentence that does not hold
  std::string detail;
};

class Findings {
 public:
  void set_time(Time now) { now_ = now; }
  void add(std::string_view invariant, std::string detail) {
    if (!first_) first_ = Violation{now_, std::string(invariant), std::move(detail)};
  }
  bool any() const { return first_.has_value(); }
  const std::optional<Violation>& first() const { return first_; }

 private:
  Time now_;
  std::optional<Violation> first_;
};

}  // namespace ember

// Decides when a fault strikes, and counts them by class.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "base/random.h"
#include "sim/options.h"

namespace ember {

class Faults {
 public:
  Faults(const SimOptions& options, std::uint64_t seed) : rates_(options.faults), random_(seed) {
    if (!options.vary_faults) return;
    for (const FaultClass& one : fault_classes()) {
      if (random_.chance(300)) rates_.*one.rate = 0;
    }
  }

  // Whether a fault of that class strikes now; it is counted if so.
  bool strikes(std::uint32_t FaultRates::*rate) {
    if (!random_.chance(rates_.*rate)) return false;
    ++counts_[name_of(rate)];
    return true;
  }
  // From now on none strikes.
  void heal() { rates_ = none(); }

  Random& random() { return random_; }
  const std::map<std::string_view, std::uint64_t>& counts() const { return counts_; }

 private:
  static std::string_view name_of(std::uint32_t FaultRates::*rate) {
    for (const FaultClass& one : fault_classes()) {
      if (one.rate == rate) return one.name;
    }
    return "";
  }
  static FaultRates none() {
    FaultRates rates;
    for (const FaultClass& one : fault_classes()) rates.*one.rate = 0;
    return rates;
  }

  FaultRates rates_;
  Random random_;
  std::map<std::string_view, std::uint64_t> counts_;
};

}  // namespace ember

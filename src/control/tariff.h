// What one container holds and what that costs, fixed when the container starts: a bill keeps the
// price that applied.
#pragma once

#include <cstdint>
#include <string>

#include "base/money.h"
#include "base/time.h"
#include "model/function.h"
#include "model/usage.h"

namespace ember {

struct Rate {
  PricePerHour price;      // of `units` units of the meter, for an hour where it is held
  std::int64_t units = 1;  // 1 GPU, 1000 milli-cores, 2^30 bytes; 10^9 bytes of egress
  std::string source;
};

struct Tariff {
  std::string gpu_type;  // empty: no GPU
  std::int64_t gpu_count = 0;
  std::int64_t share_bytes = 0;  // of the one device's memory; then `gpu` has all of it for units
  bool simulated = false;
  std::int64_t cpu_millicores = 0;
  std::int64_t memory_bytes = 0;
  Rate gpu, cpu, memory, egress;

  const Rate& rate(Meter meter) const;
  // The amount of a ledger entry: rounded once, half to even.
  Money amount(const UsageRow& row) const;
  // What the container costs through `duration`, all that it holds together, rounded once.
  Money cost(Duration duration) const;
  // "L4", "H100:2 (simulated)", "6 GB of L4", "" for none.
  std::string gpu_text() const;
};

}  // namespace ember

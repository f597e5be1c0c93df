// A look at a whole store that changes nothing: its pages, its schema, its writer, and whether its
// records fit together. One snapshot, so that it may be taken beside a running server or from a
// copy.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/finding.h"
#include "base/money.h"
#include "base/result.h"
#include "store/store.h"

namespace ember {

struct Inspection {
  std::vector<Finding> findings;  // one for each look, or one for each thing that is wrong
  std::int64_t containers = 0;
  std::int64_t leases = 0;
  std::int64_t entries = 0;  // of the ledger
  Money billed;              // as bills add them up
};

// Told of each container with all of its ledger entries, in the order of their windows.
using OnContainer = std::function<void(const ContainerRecord&, const std::vector<LedgerRecord>&)>;
using OnLease = std::function<void(const LeaseRecord&, const std::vector<LedgerRecord>&)>;

// Told of each entry of a volume, by volume and then window.
using OnVolumeEntry = std::function<void(const LedgerRecord&)>;

// Fails where the file cannot be opened; damage in it is a finding.
Result<Inspection> inspect_state(const std::string& path, const OnContainer& on_container,
                                 const OnLease& on_lease, const OnVolumeEntry& on_volume_entry);

}  // namespace ember

#include "sim/checker.h"

namespace ember {

std::vector<std::unique_ptr<Checker>> all_checkers(std::uint32_t workspace_queue_limit) {
  std::vector<std::unique_ptr<Checker>> all;
  for (const auto make :
       {check_devices,  check_slots,          check_answers, check_dispatch, check_fairness,
        check_batches,  check_max_containers, check_usage,   check_egress,   check_shares,
        check_ledger,   check_lifecycle,      check_endings, check_timeouts, check_backoff,
        check_progress, check_views,          check_quiet,   check_leases,   check_deadlocks,
        check_later}) {
    all.push_back(make());
  }
  all.push_back(check_admission(workspace_queue_limit));
  return all;
}

}  // namespace ember

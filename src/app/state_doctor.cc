// The store's own findings, and the ledger held against the lives that it bills.
#include <fmt/format.h>

#include <algorithm>

#include "app/doctor_role.h"
#include "billing/ledger_check.h"
#include "billing/price_book.h"
#include "store/inspection.h"

namespace ember {
namespace {

constexpr const char* kCheck = "ledger";
constexpr const char* kReport = "keep a copy of this database and report it";
constexpr std::size_t kMostTroubles = 1000;

class LedgerDoctor {
 public:
  void look(const ContainerRecord& container, const std::vector<LedgerRecord>& records) {
    std::vector<LedgerEntry> entries;
    for (const LedgerRecord& record : records) {
      entries.push_back({record.row, record.price, record.amount});
      right_ += amount_of(record.row, record.price);
    }
    const ContainerLife life{container.id, container.started, container.ended};
    for (std::string& line : check_ledger(life, entries)) {
      found_.trouble(std::move(line), kReport);
    }
  }

  void look(const LeaseRecord& lease, const std::vector<LedgerRecord>& records) {
    std::vector<LedgerEntry> entries;
    for (const LedgerRecord& record : records) {
      entries.push_back({record.row, record.price, record.amount});
      right_ += amount_of(record.row, record.price);
    }
    for (std::string& line : check_ledger(LeaseLife{lease.id, lease.from, lease.until}, entries)) {
      found_.trouble(std::move(line), kReport);
    }
  }

  void look_at_volume(const LedgerRecord& record) {
    const UsageRow& row = record.row;
    const Money right = amount_of(row, record.price);
    right_ += right;
    const VolumeId volume{row.container.value};
    const auto wrong = [&](const char* what) {
      found_.trouble(fmt::format("{}, window {} to {}: {}", volume.text(),
                                 row.window_start.whole_ms(), row.window_end.whole_ms(), what),
                     kReport);
    };
    if (row.quantity != (row.window_end - row.window_start).whole_ms()) {
      wrong("its milliseconds are not those of the window");
    }
    if (record.amount != right) wrong("the amount is not quantity times price");
    if (volume == volume_ && row.window_start < billed_until_) wrong("a part is billed twice");
    volume_ = volume;
    billed_until_ = row.window_end;
  }

  std::vector<Finding> finish(const Inspection& inspection, bool whole) {
    std::vector<Finding> findings = found_.take();
    if (whole && inspection.billed != right_) {
      findings.push_back({Verdict::trouble, kCheck,
                          fmt::format("bills add up to {} USD, where quantities times prices "
                                      "make {}",
                                      inspection.billed.decimal(), right_.decimal()),
                          kReport});
    }
    if (whole && findings.empty()) {
      findings.push_back(
          {Verdict::ok, kCheck,
           fmt::format(
               "{} entries tile the lives of {} containers{} and add up to {} USD",
               inspection.entries, inspection.containers,
               inspection.leases == 0 ? "" : fmt::format(" and {} leases", inspection.leases),
               inspection.billed.decimal()),
           ""});
    }
    return findings;
  }

 private:
  FindingList found_{kCheck, kMostTroubles};
  Money right_;
  VolumeId volume_;  // whose entries come now
  Time billed_until_;
};

}  // namespace

std::vector<Finding> examine_state(const std::string& path) {
  LedgerDoctor doctor;
  auto inspection = inspect_state(
      path, [&](const auto& container, const auto& entries) { doctor.look(container, entries); },
      [&](const auto& lease, const auto& entries) { doctor.look(lease, entries); },
      [&](const LedgerRecord& entry) { doctor.look_at_volume(entry); });
  if (!inspection) {
    return {{Verdict::trouble, "database", inspection.error().message,
             "look as the user who runs Ember, or name the file with --database"}};
  }
  // Where the ledger could not be read to its end the store has said so.
  const bool whole = std::ranges::none_of(inspection->findings, [](const Finding& finding) {
    return finding.verdict == Verdict::trouble &&
           (finding.check == kCheck || finding.check == "schema");
  });
  std::vector<Finding> findings = std::move(inspection->findings);
  for (Finding& finding : doctor.finish(*inspection, whole)) {
    findings.push_back(std::move(finding));
  }
  return findings;
}

}  // namespace ember

// What volumes store, in the ledger: the bytes of the newest version, from one change of them to
// the next, and every hour. A row is written with what it makes true (the version, or until when
// the volume is billed) or not at all, so that each millisecond is billed once.
#include <spdlog/spdlog.h>

#include "control/volumes.h"

namespace ember {
namespace {

constexpr Duration kBillEvery = Duration::seconds(3600);
// A bill that is looked at does not cut time into pieces that cost less than can be told.
constexpr Duration kShortest = Duration::seconds(60);
constexpr const char* kNoApp = "(volumes)";  // no app can be named so

Time whole_milliseconds(Time at) { return Time::from_ms(at.whole_ms()); }

}  // namespace

Volumes::Bill Volumes::billed_until_now(Volume& volume) {
  VolumeRecord& record = volume.record;
  const Time from = whole_milliseconds(record.billed), until = whole_milliseconds(driver_.now());
  const std::int64_t bytes = volume.newest().bytes;
  if (until <= from) return {{}, record.billed, record.billed};
  Batch batch;
  const PriceRow* price = prices_.local(Meter::disk, "", date_of(until));
  if (bytes > 0 && price) {
    LedgerRecord entry;
    entry.row.container = ContainerId{record.id.value};
    entry.row.meter = Meter::disk;
    entry.row.phase = Phase::kept;
    entry.row.window_start = from;
    entry.row.window_end = until;
    entry.row.quantity = (until - from).whole_ms();
    entry.row.units = bytes;
    entry.app_name = kNoApp;
    entry.function = record.name;
    entry.price = price->price;
    entry.price_source = price->source;
    entry.amount = amount_of(entry.row, entry.price);
    batch.push_back(std::move(entry));
  }
  record.billed = until;
  batch.push_back(record);
  return {std::move(batch), from, until};
}

// Unless something that came later is billed: never twice.
void Volumes::take_back(VolumeId id, Time before, Time until) {
  Volume* volume = catalog_.find(id);
  if (volume && volume->record.billed == until) volume->record.billed = before;
}

void Volumes::bill() {
  for (const auto& [name, id] : catalog_.names()) {
    Volume& volume = *catalog_.find(id);
    if (driver_.now() - volume.record.billed < kShortest) continue;
    Bill bill = billed_until_now(volume);
    if (bill.batch.empty()) continue;
    store_.apply(std::move(bill.batch),
                 background_.to_loop([this, id = id, before = bill.before,
                                      until = bill.until](const Result<>& written) {
                   if (written) return;
                   take_back(id, before, until);
                   spdlog::warn("what volumes store is billed later: {}", written.error().message);
                 }));
  }
}

void Volumes::bill_again() {
  bill();
  driver_.after(kBillEvery, [this] { bill_again(); });
}

}  // namespace ember

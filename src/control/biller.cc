#include "control/biller.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace ember {
namespace {

constexpr Duration kFlushDelay = Duration::milliseconds(200);
constexpr Duration kRetryDelay = Duration::seconds(1);
constexpr std::size_t kFlushRecords = 500;
constexpr std::size_t kMaxBacklog = 100'000;

constexpr std::int64_t kMillicoresPerCore = 1000;
constexpr std::int64_t kBytesPerGib = 1ll << 30;
constexpr std::int64_t kBytesPerGB = 1'000'000'000;

Rate rate_of(const PriceRow* row, std::int64_t units) {
  // The book is checked at start to have a local rate for each meter and GPU type.
  return row ? Rate{row->price, units, row->source} : Rate{};
}

}  // namespace

Biller::Biller(EngineDriver& driver, Store& store, Background& background, const PriceBook& prices)
    : driver_(driver), store_(store), background_(background), prices_(prices) {}

std::shared_ptr<const Tariff> Biller::tariff(const Resources& resources,
                                             const std::vector<DeviceId>& devices,
                                             const NodeFleet& fleet) const {
  const Date today = date_of(driver_.now());
  Tariff tariff;
  tariff.cpu_millicores = resources.cpu_millicores;
  tariff.memory_bytes = resources.memory_bytes;
  tariff.cpu = rate_of(prices_.local(Meter::cpu, "", today), kMillicoresPerCore);
  tariff.memory = rate_of(prices_.local(Meter::memory, "", today), kBytesPerGib);
  tariff.egress = rate_of(prices_.local(Meter::egress, "", today), kBytesPerGB);
  const Device* device = devices.empty() ? nullptr : fleet.find_device(devices.front());
  if (device) {
    tariff.gpu_type = device->type;
    tariff.gpu_count = static_cast<std::int64_t>(devices.size());
    tariff.simulated = device->simulated;
    tariff.gpu = rate_of(prices_.local(Meter::gpu, device->type, today), 1);
  }
  return std::make_shared<const Tariff>(std::move(tariff));
}

// At once: a container that the store does not know cannot be adopted after a crash.
void Biller::container_started(const ContainerRecord& record) {
  add(record);
  flush();
}

void Biller::container_ended(const ContainerRecord& record, std::function<void()> durable) {
  add(record);
  durable_.push_back(std::move(durable));
}

void Biller::record(const UsageRow& row, const Function& function, const Tariff& tariff) {
  LedgerRecord entry;
  entry.row = row;
  entry.app = function.app;
  entry.app_name = function.app_name;
  entry.function = function.spec.name;
  entry.price = tariff.rate(row.meter).price;
  entry.price_source = tariff.rate(row.meter).source;
  entry.amount = tariff.amount(row);
  entry.simulated = row.meter == Meter::gpu && tariff.simulated;

  FunctionStats& stats = function.line->stats;
  stats.cost += entry.amount;
  if (row.meter == Meter::gpu) {
    const auto gpu_ms = static_cast<std::uint64_t>(row.quantity * row.units);
    (row.phase == Phase::execute ? stats.gpu_ms_busy
     : row.phase == Phase::idle  ? stats.gpu_ms_idle
                                 : stats.gpu_ms_cold) += gpu_ms;
  }
  add(std::move(entry));
}

void Biller::settle(std::function<void()> done) {
  // A batch at the store already goes before any later query: the store works in order.
  if (waiting_.empty() || failing_) return done();
  durable_.push_back(std::move(done));
  flush();
}

bool Biller::is_full() const { return backlog() > kMaxBacklog; }

void Biller::add(Write record) {
  waiting_.push_back(std::move(record));
  if (flush_due_ && waiting_.size() != kFlushRecords) return;
  driver_.after(flush_due_ ? Duration{0} : kFlushDelay, [this] {
    flush_due_ = false;
    flush();
  });
  flush_due_ = true;
}

// One batch at a time, in order: rows of one window are added in one turn of the loop, so that no
// batch holds a part of them.
void Biller::flush() {
  if (writing_records_ > 0 || waiting_.empty()) return;
  writing_records_ = waiting_.size();
  auto batch = std::exchange(waiting_, {});
  auto copy = batch;  // kept to try again
  store_.apply(
      std::move(copy),
      background_.to_loop([this, batch = std::move(batch),
                           durable = std::exchange(durable_, {})](const Result<>& result) mutable {
        written(std::move(batch), std::move(durable), result);
      }));
}

void Biller::written(Batch batch, std::vector<std::function<void()>> durable,
                     const Result<>& result) {
  writing_records_ = 0;
  if (result.ok()) {
    if (failing_) spdlog::info("the state can be written again");
    failing_ = false;
    for (const auto& task : durable) task();
    if (!waiting_.empty()) flush();
    return;
  }
  failure_ = result.error().message;
  if (!failing_) spdlog::error("usage cannot be recorded, trying again: {}", failure_);
  failing_ = true;
  batch.insert(batch.end(), std::make_move_iterator(waiting_.begin()),
               std::make_move_iterator(waiting_.end()));
  waiting_ = std::move(batch);
  durable.insert(durable.end(), std::make_move_iterator(durable_.begin()),
                 std::make_move_iterator(durable_.end()));
  durable_ = std::move(durable);
  driver_.after(kRetryDelay, [this] { flush(); });
}

}  // namespace ember

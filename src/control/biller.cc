#include "control/biller.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "control/joined_usage.h"

namespace ember {
namespace {

constexpr Duration kFlushDelay = Duration::milliseconds(200);
constexpr Duration kRetryDelay = Duration::seconds(1);
constexpr std::size_t kFlushRecords = 500;
constexpr std::size_t kJoinRecords = 10'000;
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
    : driver_(driver),
      store_(store),
      background_(background),
      prices_(prices),
      join_at_(kJoinRecords) {}

std::shared_ptr<const Tariff> Biller::tariff(const Resources& resources,
                                             const std::vector<DeviceId>& devices,
                                             const NodeFleet& fleet) const {
  const Date today = date_of(driver_.now());
  const Device* device = devices.empty() ? nullptr : fleet.find_device(devices.front());
  Tariff tariff = device ? gpu_tariff(device->type, devices, fleet) : Tariff{};
  tariff.cpu_millicores = resources.cpu_millicores;
  tariff.memory_bytes = resources.memory_bytes;
  tariff.cpu = rate_of(prices_.local(Meter::cpu, "", today), kMillicoresPerCore);
  tariff.memory = rate_of(prices_.local(Meter::memory, "", today), kBytesPerGib);
  tariff.egress = rate_of(prices_.local(Meter::egress, "", today), kBytesPerGB);
  if (device && resources.gpu.is_share()) {
    tariff.share_bytes = resources.gpu.share_bytes;
    tariff.gpu.units = std::max(device->vram_bytes, tariff.share_bytes);
  }
  return std::make_shared<const Tariff>(std::move(tariff));
}

Tariff Biller::tariff(const LeaseRecord& lease, const NodeFleet& fleet) const {
  return gpu_tariff(lease.gpu_type, lease.devices, fleet);
}

Tariff Biller::gpu_tariff(const std::string& type, const std::vector<DeviceId>& devices,
                          const NodeFleet& fleet) const {
  const Device* device = fleet.find_device(devices.front());
  Tariff tariff;
  tariff.gpu_type = type;
  tariff.gpu_count = static_cast<std::int64_t>(devices.size());
  tariff.simulated = device && device->simulated;
  tariff.gpu = rate_of(prices_.local(Meter::gpu, type, date_of(driver_.now())), 1);
  return tariff;
}

// At once: a container that the store does not know cannot be adopted after a crash.
void Biller::container_started(const ContainerRecord& record) {
  add(record);
  if (!is_failing()) flush();
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
    const auto gpu_ms = static_cast<std::uint64_t>(device_ms(row));
    (row.phase == Phase::execute ? stats.gpu_ms_busy
     : row.phase == Phase::idle  ? stats.gpu_ms_idle
                                 : stats.gpu_ms_cold) += gpu_ms;
  }
  add(std::move(entry));
}

void Biller::record(const UsageRow& row, const LeaseRecord& lease, const Tariff& tariff) {
  LedgerRecord entry;
  entry.row = row;
  entry.app_name = kLeasesApp;
  entry.function = lease.holder;
  entry.price = tariff.gpu.price;
  entry.price_source = tariff.gpu.source;
  entry.amount = tariff.amount(row);
  entry.simulated = tariff.simulated;
  add(std::move(entry));
}

void Biller::settle(std::function<void()> done) {
  // A batch at the store already goes before any later query: the store works in order.
  if (waiting_.empty() || is_failing()) return done();
  durable_.push_back(std::move(done));
  flush();
}

Result<> Biller::has_room() const {
  if (backlog() <= kMaxBacklog) return Ok{};
  if (!is_failing()) return {ErrorCode::unavailable, "usage is not recorded fast enough"};
  return Error(failure_.error()).within("usage cannot be recorded, so no new calls are taken");
}

void Biller::add(Write record) {
  waiting_.push_back(std::move(record));
  if (flush_due_ && waiting_.size() != kFlushRecords) return;
  driver_.after(flush_due_ ? Duration{0} : kFlushDelay, [this] {
    flush_due_ = false;
    if (!is_failing()) flush();
  });
  flush_due_ = true;
}

// One batch at a time, in order: rows of one window are added in one turn of the loop, so that no
// batch holds a part of them.
void Biller::flush() {
  if (writing_) return;
  if (trying_.empty()) {
    trying_ = std::exchange(waiting_, {});
    trying_durable_ = std::exchange(durable_, {});
  }
  if (trying_.empty()) return;
  writing_ = true;
  store_.apply(trying_, background_.to_loop([this](const Result<>& result) { written(result); }));
}

void Biller::written(const Result<>& result) {
  writing_ = false;
  if (!result.ok()) {
    if (!is_failing()) {
      spdlog::error("usage cannot be recorded, trying again: {}", result.error().message);
    }
    failure_ = result;
    return driver_.after(kRetryDelay, [this] { try_again(); });
  }
  if (is_failing()) spdlog::info("the state can be written again");
  failure_ = Ok{};
  join_at_ = kJoinRecords;
  trying_.clear();
  for (const auto& task : std::exchange(trying_durable_, {})) task();
  flush();
}

// In a turn of the loop of its own, so between windows.
void Biller::try_again() {
  if (waiting_.size() >= join_at_) {
    waiting_ = join_windows(std::move(waiting_));
    join_at_ = std::max(kJoinRecords, 2 * waiting_.size());
  }
  flush();
}

}  // namespace ember

#include "control/leases.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "control/function_spec.h"

namespace ember {
namespace {

constexpr std::size_t kMostLeases = 200;  // with those that wait
constexpr std::size_t kMaxRequestBytes = 64u << 10;
constexpr Duration kShortest = Duration::seconds(1);
constexpr Duration kLongest = Duration::seconds(7 * 86'400);

struct LeaseRequest {
  GpuDemand gpu;
  Duration length;
  IfNoneFree if_none_free = IfNoneFree::refuse;
};

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

// With types `vram_bytes` is what each device must have; the devices are whole either way.
Result<GpuDemand> read_demand(const JsonValue* types, std::int64_t vram_bytes) {
  GpuDemand demand;
  demand.least_vram_bytes = vram_bytes;
  if (auto fits = check_vram(demand); !fits) return std::move(fits).error();
  for (std::size_t i = 0; types && i < types->size(); ++i) {
    if (!(*types)[i].is_string()) return invalid("gpu must be a list of texts such as \"L4\"");
    auto choice = parse_gpu_choice((*types)[i].get_ref<const std::string&>());
    if (!choice) return std::move(choice).error();
    demand.choices.push_back(std::move(choice).value());
  }
  if (demand.empty()) return invalid("say which GPU: gpu must be a list such as [\"L4\"], or vram");
  return demand;
}

Result<LeaseRequest> read_request(const std::string& request_json) {
  auto value = parse_json(request_json, "the request", kMaxRequestBytes);
  if (!value) return std::move(value).error();
  Fields fields(*value, "");
  const JsonValue* types = fields.array("gpu");
  const std::int64_t vram_bytes = fields.integer_or("vram_bytes", 0);
  const std::int64_t length_ms = fields.integer_or("duration_ms", 0);
  const bool waits = fields.flag_or("wait", false);
  if (length_ms < kShortest.whole_ms() || length_ms > kLongest.whole_ms()) {
    fields.fail("duration_ms", "must be from 1000 (a second) to 604800000 (seven days)");
  }
  if (auto read = fields.finish(); !read) return std::move(read).error();
  auto demand = read_demand(types, vram_bytes);
  if (!demand) return std::move(demand).error();
  return LeaseRequest{std::move(demand).value(), Duration::milliseconds(length_ms),
                      waits ? IfNoneFree::wait : IfNoneFree::refuse};
}

std::string utc(Time time) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(time.whole_ms() / 1000));
}

}  // namespace

Leases::Leases(EngineDriver& driver, Store& store, Background& background, Biller& biller,
               const NodeFleet& fleet, const AppCatalog& catalog, const KeyRing& keys,
               IdSource& ids)
    : driver_(driver),
      store_(store),
      background_(background),
      biller_(biller),
      fleet_(fleet),
      catalog_(catalog),
      keys_(keys),
      ids_(ids) {}

Leases::Lease* Leases::find(LeaseId id) {
  const auto found = leases_.find(id);
  return found == leases_.end() ? nullptr : &found->second;
}

void Leases::restore(const Snapshot& snapshot) {
  std::map<LeaseId, Time> billed;
  for (const LeaseBilledSoFar& one : snapshot.leases_billed) billed[one.lease] = one.until;
  for (const LeaseRecord& record : snapshot.leases) {
    if (record.devices.empty()) continue;  // a damaged record
    Lease& lease = leases_[record.id];
    lease.record = record;
    lease.state = State::kept;
    const auto until = billed.find(record.id);
    driver_.handle(LeaseRestored{record.id, record.node, record.devices, record.gpu_type,
                                 record.from, record.until,
                                 until == billed.end() ? record.from : until->second});
  }
}

std::shared_ptr<void> Leases::ask(KeyId key, const std::string& request_json, Done done) {
  auto request = read_request(request_json);
  if (!request) return done(std::move(request).error()), nullptr;
  if (!fleet_.is_connected()) {
    done(Error{ErrorCode::unavailable, "no node is connected; try again in a few seconds"});
    return nullptr;
  }
  if (leases_.size() >= kMostLeases) {
    done(Error{ErrorCode::resource_exhausted,
               "there are 200 leases already; end one with `ember lease end`"});
    return nullptr;
  }
  const LeaseId id{ids_.next(driver_.now())};
  const KeyRecord* known = keys_.find(key);
  Lease& lease = leases_[id];
  lease.record.id = id;
  lease.record.key = key;
  lease.record.holder = known ? known->name : key.text();
  lease.gpu = request->gpu;
  lease.done = std::move(done);
  GpuDemand demand = std::move(request->gpu);
  if (demand.choices.empty()) catalog_.settle(demand);
  driver_.handle(LeaseAsked{id, std::move(demand), request->length, request->if_none_free});
  return {this, [id, alive = std::weak_ptr<int>(alive_)](Leases* leases) {
            if (!alive.expired()) leases->abandon(id);
          }};
}

void Leases::abandon(LeaseId id) {
  Lease* lease = find(id);
  if (!lease || !lease->done) return;
  lease->done = nullptr;
  lease->abandoned = true;
  // One that was granted is ended once it is known whether it is on disk.
  if (lease->state != State::asked) return;
  leases_.erase(id);
  driver_.handle(LeaseEnded{id});
}

void Leases::grant(const GrantLease& action) {
  Lease* lease = find(action.lease);
  if (!lease) return;
  lease->state = State::granted;
  LeaseRecord& record = lease->record;
  record.node = action.node;
  record.devices = action.devices;
  record.gpu_type = action.gpu_type;
  record.from = action.from;
  record.until = action.until;
  store_.apply({record}, background_.to_loop([this, id = action.lease](const Result<>& written) {
    kept(id, written);
  }));
}

void Leases::kept(LeaseId id, const Result<>& written) {
  Lease* lease = find(id);
  if (!lease) return;  // it was so short that it has ended
  lease->state = State::kept;
  const Done done = std::exchange(lease->done, nullptr);
  if (!written.ok() || lease->abandoned) {
    driver_.handle(LeaseEnded{id});
    if (done) done(Error(written.error()).within("the lease could not be kept"));
    return;
  }
  spdlog::info("{} is leased by {} until {}", lease->record.gpu_type, lease->record.holder,
               utc(lease->record.until));
  if (done) done(dump_json(document_of(*lease)));
}

void Leases::refuse(const RefuseLease& action) {
  Lease* lease = find(action.lease);
  if (!lease) return;
  const Done done = std::move(lease->done);
  const bool never = action.reason.code == ReasonCode::no_such_device;
  std::string text = "no " + lease->gpu.text() + " can be leased: " + action.reason.text();
  text += never ? "; the fleet has " + fleet_.gpus_text()
                : "; `ember node list` shows who has them, and --wait waits for one";
  leases_.erase(action.lease);
  if (done) done(Error{action.code, std::move(text)});
}

void Leases::record(const UsageRow& row) {
  Lease* lease = find(row.lease);
  if (lease) biller_.record(row, lease->record, tariff_of(*lease));
}

void Leases::release(const ReleaseLease& action) {
  Lease* lease = find(action.lease);
  if (!lease) return;
  lease->record.ended = std::max(action.at, lease->record.from);
  biller_.lease_ended(lease->record);
  if (lease->done) {
    lease->done(Error{ErrorCode::conflict, "the lease ended before it could be answered"});
  }
  leases_.erase(action.lease);
}

Result<std::string> Leases::end(std::string_view text) {
  const auto id = LeaseId::parse(text);
  const Lease* lease = id ? find(*id) : nullptr;
  if (!lease || lease->state != State::kept) {
    return {ErrorCode::not_found, "there is no lease \"" + std::string(text.substr(0, 64)) +
                                      "\"; `ember lease list` shows those there are"};
  }
  JsonValue document = document_of(*lease);
  document["state"] = "ended";
  driver_.handle(LeaseEnded{*id});
  return dump_json(document);
}

// Known once it is metered: its node has told of its devices then.
const Tariff& Leases::tariff_of(Lease& lease) const {
  if (lease.tariff.gpu_type.empty()) lease.tariff = biller_.tariff(lease.record, fleet_);
  return lease.tariff;
}

JsonValue Leases::document_of(const Lease& lease) const {
  const LeaseRecord& record = lease.record;
  const bool waits = lease.state == State::asked;
  JsonValue devices = JsonValue::array();
  bool simulated = false;
  for (const DeviceId id : record.devices) {
    const Device* device = fleet_.find_device(id);
    simulated = simulated || (device && device->simulated);
    devices.push_back({{"device_id", id.text()},
                       {"uuid", device ? device->uuid : ""},
                       {"simulated", device && device->simulated}});
  }
  return {{"lease_id", record.id.text()},
          {"state", waits ? "waiting" : "granted"},
          {"holder", record.holder},
          {"gpu", waits ? lease.gpu.text() : record.gpu_type},
          {"node_id", waits ? JsonValue() : JsonValue(record.node.text())},
          {"node", waits ? "" : fleet_.hello().name},
          {"devices", std::move(devices)},
          {"from_ms", waits ? JsonValue() : JsonValue(record.from.whole_ms())},
          {"until_ms", waits ? JsonValue() : JsonValue(record.until.whole_ms())},
          {"simulated", simulated}};
}

std::string Leases::list() const {
  JsonValue rows = JsonValue::array();
  for (const auto& [id, lease] : leases_) rows.push_back(document_of(lease));
  return dump_json({{"leases", std::move(rows)}});
}

std::string Leases::why_leased(DeviceId device) const {
  for (const auto& [id, lease] : leases_) {
    if (std::ranges::count(lease.record.devices, device) == 0) continue;
    return "leased by " + lease.record.holder + " until " + utc(lease.record.until);
  }
  return {};
}

}  // namespace ember

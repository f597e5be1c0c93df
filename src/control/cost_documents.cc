#include "control/cost_documents.h"

#include <algorithm>
#include <set>

#include "control/json.h"

namespace ember {
namespace {

struct GroupName {
  CostGroup group;
  const char* name;
};
constexpr GroupName kGroupNames[] = {{CostGroup::app, "app"},
                                     {CostGroup::function, "function"},
                                     {CostGroup::day, "day"},
                                     {CostGroup::phase, "phase"},
                                     {CostGroup::meter, "meter"}};

std::string group_names() {
  std::string names;
  for (const GroupName& known : kGroupNames) {
    names += std::string(names.empty() ? "" : ", ") + known.name;
  }
  return names;
}

struct Offer {
  const PriceRow* row;
  Money cost;
  std::string note;
};

// The newest row of the provider for a meter without GPU types.
const PriceRow* side_rate(const PriceBook& prices, const PriceRow& offer, Meter meter, Date on) {
  const PriceRow* best = nullptr;
  for (const PriceRow& row : prices.rows()) {
    if (row.provider != offer.provider || row.meter != meter || row.valid_from > on) continue;
    if (!best || row.valid_from > best->valid_from) best = &row;
  }
  return best;
}

std::string missing_meters(const PriceRow* cpu, const PriceRow* memory) {
  if (cpu && memory) return {};
  if (!cpu && !memory) return "CPU and memory are not priced apart";
  return cpu ? "memory is not priced apart" : "CPU is not priced apart";
}

Offer priced(const PriceBook& prices, const PriceRow& row, const Tariff& here, Duration held,
             Date on) {
  Tariff there = here;
  if (row.meter == Meter::gpu) there.gpu.price = row.price;
  const PriceRow* cpu = side_rate(prices, row, Meter::cpu, on);
  const PriceRow* memory = side_rate(prices, row, Meter::memory, on);
  there.cpu.price = cpu ? cpu->price : PricePerHour{};
  there.memory.price = memory ? memory->price : PricePerHour{};
  std::string note = row.note;
  if (row.meter == Meter::cpu) note += std::string(note.empty() ? "" : "; ") + "per core-hour";
  if (const std::string missing = missing_meters(cpu, memory); !missing.empty()) {
    note += (note.empty() ? "" : "; ") + missing;
  }
  return {&row, there.cost(held), std::move(note)};
}

// Who could run it: sellers of that GPU, or without one those who price CPU by itself.
std::vector<const PriceRow*> offers_for(const PriceBook& prices, const Tariff& here, Date on) {
  if (!here.gpu_type.empty()) return prices.elsewhere(here.gpu_type, on);
  std::vector<const PriceRow*> offers;
  for (const PriceRow& row : prices.rows()) {
    if (row.meter != Meter::cpu || row.provider == kLocalProvider) continue;
    if (side_rate(prices, row, Meter::cpu, on) == &row) offers.push_back(&row);
  }
  return offers;
}

JsonValue elsewhere(const PriceBook& prices, const Tariff& here, Duration held, Date on) {
  std::vector<Offer> offers;
  for (const PriceRow* row : offers_for(prices, here, on)) {
    offers.push_back(priced(prices, *row, here, held, on));
  }
  std::ranges::stable_sort(offers, {}, &Offer::cost);
  JsonValue list = JsonValue::array();
  for (const Offer& offer : offers) {
    list.push_back({{"provider", offer.row->provider},
                    {"gpu", offer.row->gpu},
                    {"usd", offer.cost.decimal()},
                    {"price_per_hour_usd", Money{offer.row->price.nano_usd}.decimal()},
                    {"valid_from", offer.row->valid_from.text()},
                    {"source", offer.row->source},
                    {"note", offer.note}});
  }
  return list;
}

JsonValue phase_entry(const char* phase, Duration held, Money cost) {
  return {{"phase", phase}, {"ms", held.whole_ms()}, {"usd", cost.decimal()}};
}

}  // namespace

Result<std::vector<CostGroup>> parse_cost_groups(std::string_view text) {
  std::vector<CostGroup> groups;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const std::string_view name = text.substr(0, comma);
    text.remove_prefix(comma == text.npos ? text.size() : comma + 1);
    const auto* found = std::ranges::find(kGroupNames, name, &GroupName::name);
    if (found == std::end(kGroupNames)) {
      return {ErrorCode::invalid_argument, "cost cannot be cut by \"" +
                                               std::string(name.substr(0, 64)) + "\"; known are " +
                                               group_names()};
    }
    if (std::ranges::find(groups, found->group) == groups.end()) groups.push_back(found->group);
  }
  return groups;
}

std::string cost_document(const std::vector<CostGroup>& by, const std::vector<CostRow>& rows) {
  JsonValue list = JsonValue::array();
  Money total;
  bool simulated = false;
  for (const CostRow& row : rows) {
    JsonValue entry = JsonValue::object();
    for (std::size_t i = 0; i < by.size(); ++i) {
      const auto* name = std::ranges::find(kGroupNames, by[i], &GroupName::group);
      entry[name->name] = row.keys[i];
    }
    entry["usd"] = row.amount.decimal();
    entry["gpu_ms"] = row.gpu_ms;
    entry["cpu_millicore_ms"] = row.cpu_millicore_ms;
    entry["memory_mib_ms"] = row.memory_mib_ms;
    entry["egress_bytes"] = row.egress_bytes;
    entry["disk_mib_ms"] = row.disk_mib_ms;
    entry["simulated"] = row.simulated;
    list.push_back(std::move(entry));
    total += row.amount;
    simulated |= row.simulated;
  }
  return dump_json({{"rows", std::move(list)},
                    {"total_usd", total.decimal()},
                    {"note", simulated ? "parts of this are for simulated GPUs" : ""}});
}

std::string call_cost_document(const FinishedCall& call, const PriceBook& prices, Date on) {
  const Tariff here = call.tariff ? *call.tariff : Tariff{};
  const auto ms = [](std::int64_t n) { return Duration::milliseconds(n); };
  const Duration boot = ms(call.report.boot_ms), load = ms(call.report.load_ms);
  const bool pays_start = call.report.pays_start;
  const Duration paid = pays_start ? boot + load + call.execute_share : call.execute_share;
  JsonValue phases = JsonValue::array();
  if (call.report.cold) {
    phases.push_back(phase_entry("boot", boot, pays_start ? here.cost(boot) : Money{}));
    phases.push_back(phase_entry("load", load, pays_start ? here.cost(load) : Money{}));
  }
  phases.push_back(phase_entry("execute", call.execute_share, call.report.cost));
  return dump_json({{"call_id", call.id.text()},
                    {"cost_usd", call.report.cost.decimal()},
                    {"start_cost_usd", call.report.start_cost.decimal()},
                    {"by_phase", std::move(phases)},
                    {"gpu", here.gpu_text()},
                    {"simulated", here.simulated},
                    {"elsewhere", elsewhere(prices, here, paid, on)}});
}

}  // namespace ember

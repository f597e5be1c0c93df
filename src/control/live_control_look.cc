// What people and programs look at: documents, logs, metrics.
#include <algorithm>

#include "control/cost_documents.h"
#include "control/parts.h"
#include "control/price_file.h"

namespace ember {
namespace {

// Whether the operator has set the local rates that bills use.
std::string price_note(const PriceBook& prices, Date today) {
  return prices.assumes(today) ? "local rates are assumed until you set your own in the price book"
                               : "local rates are set in the price book";
}

std::int64_t oldest_wait_us(const CallTable& calls, const Function& function, Time now) {
  std::int64_t oldest = 0;
  for (const Call* call : calls.live_calls()) {
    if (call->function->line != function.line || call->attempt != 0) continue;
    oldest = std::max(oldest, (now - call->arrived).us);
  }
  return oldest;
}

// What its own pool and those of its variants have.
PoolView all_pools_of(const Engine& engine, const App& app, const Function& function) {
  PoolView sum = engine.pool(function.pool).value_or(PoolView{});
  for (const auto& [id, variant] : app.variants) {
    if (variant->line != function.line) continue;
    const PoolView pool = engine.pool(variant->pool).value_or(PoolView{});
    sum.waiting += pool.waiting;
    sum.running += pool.running;
    sum.starting += pool.starting;
    sum.idle += pool.idle;
    sum.busy += pool.busy;
  }
  return sum;
}

}  // namespace

std::string LiveControl::status_json() {
  const Parts& parts = *parts_;
  const NodeHello& node = parts.fleet.hello();
  const auto& apps = parts.catalog.apps();
  const auto live =
      std::ranges::count_if(apps, [](const auto& entry) { return !entry.second.record.stopped; });
  std::vector<std::string> missing = node.missing;
  if (parts.biller.is_failing()) {
    missing.push_back("usage waits to be recorded: " + parts.biller.failure().message);
  }
  if (auto trouble = parts.secrets.trouble(); !trouble.empty()) missing.push_back(trouble);
  if (const std::uint64_t lines = parts.logs.lines_unwritten()) {
    missing.push_back("log lines: " + std::to_string(lines) +
                      " found no room on the disk; free some at " + parts.options.data + "/logs");
  }
  if (!parts.fleet.is_connected()) missing.push_back("no node is connected");
  const Time now = parts_->driver.now();
  return dump_json(
      {{"version", parts.options.version},
       {"uptime_ms", (now - parts.started).whole_ms()},
       {"data", parts.options.data},
       {"web_url", parts.deployments.web_url("LABEL")},
       {"isolation", node.isolation},
       {"no_gvisor", parts.fleet.has_met() ? node.no_gvisor : std::string("no node has joined")},
       {"network", node.network},
       {"missing", missing},
       {"simulated_gpus", parts.fleet.has_simulated_gpus()},
       {"nodes", parts.driver.engine().nodes().size()},
       {"containers", parts.containers.size()},
       {"apps", live},
       {"price_book",
        {{"provider", kLocalProvider}, {"note", price_note(parts.prices, date_of(now))}}}});
}

std::string LiveControl::apps_json() { return parts_->listings.apps(); }

Result<std::string> LiveControl::app_json(std::string_view app) {
  return parts_->listings.app(app);
}

void LiveControl::history_json(std::string app, Done done) {
  const App* found = parts_->catalog.find_app(app);
  if (!found) return done(AppCatalog::no_such_app(app));
  History now{found->record.version, found->record.stopped, 0, ""};
  if (!found->rising.empty()) {
    now.rolled_out = found->record.newest;
    now.waits_for = parts_->deployments.rollouts().waits_for(*found);
  }
  parts_->store.query_versions(
      found->record.id,
      parts_->background.to_loop(
          [done = std::move(done), now](const Result<std::vector<VersionRecord>>& versions) {
            if (!versions) return done(versions.error());
            done(history_document(*versions, now));
          }));
}

std::string LiveControl::containers_json() { return parts_->listings.containers(); }

std::string LiveControl::nodes_json() { return parts_->listings.nodes(); }

std::string LiveControl::calls_json(std::string_view app, std::size_t limit) {
  return parts_->listings.calls(app, limit);
}

Result<std::string> LiveControl::call_json(CallId call) { return parts_->listings.call(call); }

void LiveControl::cost_json(std::string by, std::string app, Time from, Time until, Done done) {
  auto groups = parse_cost_groups(by);
  if (!groups) return done(std::move(groups).error());
  CostQuery query{*groups, std::move(app), from, until};
  auto answer = parts_->background.to_loop(
      [by = *groups, done = std::move(done)](const Result<std::vector<CostRow>>& rows) {
        if (!rows) return done(rows.error());
        done(cost_document(by, *rows));
      });
  parts_->volumes.bill();
  parts_->biller.settle([this, query = std::move(query), answer = std::move(answer)] {
    parts_->store.query_cost(query, answer);
  });
}

VolumeService& LiveControl::volumes() { return parts_->volumes; }

SharedService& LiveControl::shared() { return parts_->shared; }

std::string LiveControl::prices_json() { return price_book_json(parts_->prices); }

Result<std::string> LiveControl::call_cost_json(CallId id) {
  const CallTable& calls = parts_->calls.table();
  if (calls.find(id)) {
    return {ErrorCode::conflict, "the call " + id.text() + " has not ended yet"};
  }
  const FinishedCall* call = calls.find_finished(id);
  if (!call) return CallTable::no_such_call(id);
  return call_cost_document(*call, parts_->prices, date_of(parts_->driver.now()));
}

void LiveControl::logs(const LogQuery& query,
                       std::function<void(Result<std::vector<LogLine>>)> done) {
  if (!parts_->catalog.find_app(query.app)) return done(AppCatalog::no_such_app(query.app));
  parts_->logs.select(query, std::move(done));
}

Result<std::shared_ptr<void>> LiveControl::follow_logs(const LogQuery& query,
                                                       std::shared_ptr<LogFollower> follower) {
  if (!parts_->catalog.find_app(query.app)) return AppCatalog::no_such_app(query.app);
  return parts_->logs.follow(query, std::move(follower));
}

std::vector<Control::FunctionMetrics> LiveControl::metrics() {
  std::vector<FunctionMetrics> all;
  const Time now = parts_->driver.now();
  for (const auto& [name, app] : parts_->catalog.apps()) {
    for (const FunctionPtr& function : app.functions) {
      const FunctionStats& stats = function->line->stats;
      const PoolView pool = all_pools_of(parts_->driver.engine(), app, *function);
      FunctionMetrics metrics;
      metrics.app = name;
      metrics.function = function->spec.name;
      metrics.succeeded = stats.succeeded;
      metrics.errors = stats.errors;
      metrics.timeouts = stats.timeouts;
      metrics.cold_starts = stats.cold_starts;
      metrics.waiting = pool.waiting;
      metrics.running = pool.running;
      metrics.starting = pool.starting;
      metrics.idle = pool.idle;
      metrics.busy = pool.busy;
      metrics.queue_oldest_us =
          pool.waiting ? oldest_wait_us(parts_->calls.table(), *function, now) : 0;
      metrics.gpu_ms_busy = stats.gpu_ms_busy;
      metrics.gpu_ms_cold = stats.gpu_ms_cold;
      metrics.gpu_ms_idle = stats.gpu_ms_idle;
      metrics.cost_nano_usd = stats.cost.nano_usd;
      metrics.invoke_buckets.assign(stats.invoke_buckets.begin(), stats.invoke_buckets.end());
      metrics.init_buckets.assign(stats.init_buckets.begin(), stats.init_buckets.end());
      metrics.invoke_sum_us = stats.invoke_sum_us;
      metrics.init_sum_us = stats.init_sum_us;
      metrics.logs_dropped = parts_->logs.dropped_by(name, function->spec.name);
      all.push_back(std::move(metrics));
    }
  }
  return all;
}

}  // namespace ember

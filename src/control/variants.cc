#include "control/variants.h"

#include <algorithm>
#include <utility>

namespace ember {
namespace {

constexpr std::size_t kMostVariants = 1'000;  // of an app

std::string answer(VariantId id) { return dump_json({{"variant", id.text()}}); }

bool is_at_rest(const PoolView& pool) {
  return pool.waiting + pool.running + pool.starting + pool.idle + pool.busy + pool.stopping == 0;
}

}  // namespace

VariantRecord Variants::record_of(const Function& deployed, const Difference& difference) {
  const Time now = driver_.now();
  return {variant_id(deployed.app, deployed.version, deployed.spec.name, difference),
          deployed.app,
          deployed.version,
          deployed.spec.name,
          variant_line(deployed.line->id, difference),
          PoolId{ids_.next(now)},
          difference.parameters,
          difference.options,
          now};
}

void Variants::make(const std::string& app, const std::string& function,
                    const std::string& request_json, Done done) {
  const App* known = catalog_.find_app(app);
  if (!known || known->record.stopped) return done(catalog_.not_running(app));
  const FunctionPtr* found = catalog_.find_function(app, function);
  if (!found) {
    return done({ErrorCode::not_found, "the app " + app + " has no function or class \"" +
                                           function.substr(0, 64) +
                                           "\"; `ember function list` shows those there are"});
  }
  const Function& deployed = **found;
  auto difference = parse_difference(request_json, deployed.spec);
  if (!difference) return done(std::move(difference).error());
  if (difference->none()) return done(dump_json({{"variant", nullptr}}));
  const VariantRecord record = record_of(deployed, *difference);
  if (known->variants.contains(record.id)) return done(answer(record.id));
  Waiting waiting{app, function, request_json, std::move(done)};
  if (const auto coming = coming_.find(record.id); coming != coming_.end()) {
    return coming->second.push_back(std::move(waiting));
  }
  const auto variant = catalog_.variant_of(deployed, record);
  if (!variant) return waiting.done(variant.error());
  if (auto fits = deployments_.check_fleet((*variant)->spec); !fits) {
    return waiting.done(std::move(fits).error());
  }
  auto batch = make_room(*known);
  if (!batch) return waiting.done(std::move(batch).error());
  coming_[record.id].push_back(std::move(waiting));
  write(record, std::move(batch).value());
}

Result<std::vector<Write>> Variants::make_room(const App& app) {
  std::vector<Write> batch;
  if (app.variants.size() + coming_.size() < kMostVariants) return batch;
  FunctionPtr oldest;
  for (const auto& [id, variant] : app.variants) {
    if (oldest && oldest->used <= variant->used) continue;
    const auto pool = driver_.engine().pool(variant->pool);
    if (!pool || is_at_rest(*pool)) oldest = variant;
  }
  if (!oldest) {
    return {
        ErrorCode::resource_exhausted,
        "the app " + app.name() + " has " + std::to_string(kMostVariants) +
            " variants of its functions that all have containers; try again when some are idle"};
  }
  catalog_.drop_variant(*oldest);
  driver_.handle(AppDeployed{oldest->app, pool_specs(app)});
  batch.emplace_back(ForgottenVariant{oldest->variant});
  return batch;
}

void Variants::write(const VariantRecord& record, std::vector<Write> batch) {
  batch.emplace_back(record);
  store_.apply(std::move(batch), background_.to_loop([this, record](const Result<>& result) {
    written(record, result);
  }));
}

void Variants::written(const VariantRecord& record, const Result<>& result) {
  const std::vector<Waiting> all = std::move(coming_.extract(record.id).mapped());
  const Result<> restored = result.ok() ? restore(record) : result;
  for (const Waiting& one : all) {
    if (restored.ok()) {
      one.done(answer(record.id));
    } else if (restored.error().code == ErrorCode::conflict) {
      make(one.app, one.function, one.request_json,
           one.done);  // of the version that came meanwhile
    } else {
      one.done(restored.error());
    }
  }
}

Result<> Variants::restore(const VariantRecord& record) {
  for (const auto& [name, app] : catalog_.apps()) {
    if (app.record.id != record.app) continue;
    const auto deployed = std::ranges::find_if(app.functions, [&](const FunctionPtr& function) {
      return function->spec.name == record.function && function->version == record.version;
    });
    if (deployed == app.functions.end()) break;
    auto variant = catalog_.variant_of(**deployed, record);
    if (!variant) return std::move(variant).error();
    catalog_.add_variant(*variant);
    driver_.handle(PoolAdded{record.app, pool_spec(**variant)});
    return Ok{};
  }
  return {ErrorCode::conflict, "its version is not the current one"};
}

}  // namespace ember

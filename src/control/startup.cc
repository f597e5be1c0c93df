#include "control/startup.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

namespace ember {

void Startup::restore(const Snapshot& snapshot, std::function<void()> ready) {
  ready_ = std::move(ready);
  restore_apps(snapshot);
  restore_containers(snapshot);
  if (questions_ == 0) ready_();
}

void Startup::restore_apps(const Snapshot& snapshot) {
  for (const VersionRecord& version : snapshot.versions) versions_[version.app].push_back(version);
  for (const AppRecord& app : snapshot.apps) {
    apps_[app.id] = app;
    const auto& versions = versions_[app.id];
    const auto current = std::ranges::find(versions, app.version, &VersionRecord::version);
    if (app.stopped || current == versions.end()) {
      catalog_.set_stopped(app);
    } else if (auto restored = deployments_.restore(app, *current); !restored) {
      spdlog::error("the app {} cannot be restored: {}", app.name, restored.error().message);
      catalog_.set_stopped(app);
    } else if (app.newest > app.version) {
      restore_rollout(app);
    }
  }
  for (const VariantRecord& variant : snapshot.variants) {
    variant_records_[variant.pool] = variant;
    const auto restored = variants_.restore(variant);
    if (restored.ok() || restored.error().code == ErrorCode::conflict) continue;
    spdlog::error("the variant {} cannot be restored: {}", variant.id.text(),
                  restored.error().message);
  }
  for (const ScalingRecord& changed : snapshot.scalings) {
    if (const auto restored = scaling_.restore(changed); !restored) {
      spdlog::error("a function is scaled as deployed: {}", restored.error().message);
    }
  }
}

void Startup::restore_rollout(const AppRecord& app) {
  const auto& versions = versions_[app.id];
  const auto newest = std::ranges::find(versions, app.newest, &VersionRecord::version);
  if (newest == versions.end() || !newest->withdrawn.empty()) return;
  if (auto resumed = deployments_.resume_rollout(app, *newest); !resumed) {
    spdlog::error("version {} of the app {} cannot be rolled out: {}", app.newest, app.name,
                  resumed.error().message);
  }
}

void Startup::restore_containers(const Snapshot& snapshot) {
  for (const BilledSoFar& billed : snapshot.billed) billed_[billed.container] = billed;
  std::set<AppId> unknown;
  for (const ContainerRecord& record : snapshot.containers) {
    if (versions_[record.app].empty() && apps_.contains(record.app)) {
      undecided_.push_back(record);
      unknown.insert(record.app);
    } else {
      await(record);
    }
  }
  questions_ = unknown.size();
  for (const AppId app : unknown) ask_for_versions(apps_[app]);
}

void Startup::ask_for_versions(const AppRecord& app) {
  store_.query_versions(
      app.id, background_.to_loop([this, id = app.id](Result<std::vector<VersionRecord>> found) {
        if (found.ok()) versions_[id] = std::move(found).value();
        if (--questions_ > 0) return;
        for (const ContainerRecord& record : undecided_) await(record);
        undecided_.clear();
        ready_();
      }));
}

void Startup::await(const ContainerRecord& record) {
  const auto found = billed_.find(record.id);
  const BilledSoFar billed =
      found == billed_.end() ? BilledSoFar{record.id, record.started, 0} : found->second;
  containers_.await({record, billed.until, billed.egress_bytes, function_of(record)});
}

FunctionPtr Startup::function_of(const ContainerRecord& record) const {
  if (FunctionPtr current = catalog_.by_pool(record.pool)) return current;
  const auto versions = versions_.find(record.app);
  if (versions == versions_.end()) return nullptr;
  const auto variant = variant_records_.find(record.pool);
  for (const VersionRecord& version : versions->second) {
    if (variant != variant_records_.end() && variant->second.version == version.version) {
      return variant_of(variant->second, version);
    }
    if (std::ranges::count(version.functions, record.pool, &FunctionRecord::pool) == 0) continue;
    auto functions = catalog_.functions_of(version, apps_.at(record.app).name);
    if (!functions) return nullptr;
    const auto found = std::ranges::find_if(
        *functions, [&](const FunctionPtr& function) { return function->pool == record.pool; });
    catalog_.remember({*found});
    return *found;
  }
  return nullptr;
}

FunctionPtr Startup::variant_of(const VariantRecord& record, const VersionRecord& version) const {
  const auto functions = catalog_.functions_of(version, apps_.at(record.app).name);
  if (!functions) return nullptr;
  for (const FunctionPtr& function : *functions) {
    if (function->spec.name != record.function) continue;
    auto variant = catalog_.variant_of(*function, record);
    if (!variant) return nullptr;
    catalog_.remember({*variant});
    return *variant;
  }
  return nullptr;
}

}  // namespace ember

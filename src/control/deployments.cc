#include "control/deployments.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace ember {
namespace {

constexpr Duration kLease = Duration::seconds(30);  // an ephemeral app lives on heartbeats
constexpr std::size_t kMaxApps = 10'000;
constexpr std::size_t kMaxAppName = 63;
// What the runner of a container for a shell runs: python/ember/runner/_shell.py.
constexpr const char* kShellModule = "ember.runner._shell";
constexpr const char* kShellFunction = "container_id";
constexpr std::size_t kShellDigits = 6;

Result<std::vector<FunctionSpec>> specs_of(const VersionRecord& version) {
  std::vector<FunctionSpec> specs;
  for (const FunctionRecord& function : version.functions) {
    auto document = parse_json(function.spec_json, function.name, function.spec_json.size());
    if (!document) return std::move(document).error();
    auto spec = parse_function_spec(*document, function.name + ".");
    if (!spec) return std::move(spec).error();
    specs.push_back(std::move(spec).value());
  }
  return specs;
}

// What runs for once takes no deployed endpoint's label: its own are by its names.
void forget_labels(std::vector<FunctionSpec>& functions) {
  for (FunctionSpec& spec : functions) {
    if (spec.web) spec.web->label.clear();
    for (MethodSpec& method : spec.of_class.methods) {
      if (method.web) method.web->label.clear();
    }
  }
}

}  // namespace

struct Deployments::Change {
  std::string app;
  bool ephemeral = false;
  std::string source;
  std::string message;
  Rollout rollout = Rollout::recreate;
  std::vector<FunctionSpec> functions;
};

Deployments::Deployments(EngineDriver& driver, AppCatalog& catalog, Store& store,
                         Background& background, SourceStore& sources, ImageBuilds& images,
                         Secrets& secrets, const NodeFleet& fleet, const Calls& calls,
                         const VolumeCatalog& volumes, TimeZones& zones, IdSource& ids,
                         const PriceBook& prices)
    : driver_(driver),
      catalog_(catalog),
      store_(store),
      background_(background),
      sources_(sources),
      images_(images),
      secrets_(secrets),
      fleet_(fleet),
      calls_(calls),
      volumes_(volumes),
      zones_(zones),
      ids_(ids),
      prices_(prices),
      rollouts_(driver, catalog, store, background,
                {.lock = [this](const std::string& app) { return begin(app).ok(); },
                 .unlock = [this](const std::string& app) { end(app); },
                 .changed = [this](const App& app) { changed_(app); }}) {
  rank_gpus();
}

// Prices change with the days.
void Deployments::rank_gpus() {
  std::vector<GpuChoice> ranked;
  for (std::string& type : prices_.gpus_by_price(date_of(driver_.now()))) {
    ranked.push_back({std::move(type), 1});
  }
  catalog_.rank_gpus(std::move(ranked));
}

Result<> Deployments::begin(const std::string& app) {
  if (changing_.insert(app).second) return Ok{};
  return {ErrorCode::conflict, "another change of the app " + app + " is under way; try again"};
}

void Deployments::end(const std::string& app) {
  changing_.erase(app);
  rollouts_.look_soon();
  if (rollouts_.is_under_way(app)) return;  // its labels are to be the new version's
  std::erase_if(claimed_, [&](const auto& claim) { return claim.second == app; });
}

// Until end(), and while the version is rolled out: a label is one endpoint's alone, also among
// changes that are under way.
Result<> Deployments::claim_labels(const std::string& app,
                                   const std::vector<FunctionSpec>& functions) {
  std::set<std::string> own;
  for (const FunctionSpec& spec : functions) {
    for (const WebCallable& web : web_callables(app, spec)) {
      const std::string of = "the web label \"" + web.label + "\" of " + web.name;
      if (!own.insert(web.label).second) {
        return {ErrorCode::conflict, of + " is another endpoint's of this app; give one of them "
                                          "another by label="};
      }
      const FunctionPtr* holder = catalog_.find_label(web.label).function;
      std::string owner = holder ? (*holder)->app_name : app;
      if (const auto claim = claimed_.find(web.label); claim != claimed_.end()) {
        owner = claim->second;
      }
      if (owner != app) {
        return {ErrorCode::conflict, of + " is the app " + owner +
                                         "'s; give the endpoint another by label=, or stop "
                                         "that app"};
      }
    }
  }
  for (const std::string& label : own) claimed_[label] = app;
  return Ok{};
}

Result<> Deployments::resume_rollout(const AppRecord& record, const VersionRecord& version) {
  if (auto resumed = rollouts_.resume(record, version); !resumed) return resumed;
  for (const FunctionPtr& function : catalog_.find_app(record.name)->rising) {
    for (const WebCallable& web : web_callables(record.name, function->spec)) {
      claimed_[web.label] = record.name;
    }
  }
  return Ok{};
}

Result<> Deployments::check_placeable(const FunctionSpec& spec) const {
  Resources wanted = spec.settings.resources;
  catalog_.settle(wanted.gpu);
  if (driver_.engine().could_ever_place(wanted)) return Ok{};
  const NodeCapacity& capacity = fleet_.hello().capacity;
  const bool by_memory = wanted.gpu.is_share() || wanted.gpu.least_vram_bytes > 0;
  return {ErrorCode::conflict,
          "no node could ever hold a container of " + spec.name + ": it asks for " +
              std::to_string(wanted.cpu_millicores) + " milli-cores, " +
              std::to_string(wanted.memory_bytes >> 20) + " MiB" +
              (wanted.gpu.empty() ? "" : " and GPU " + wanted.gpu.text()) + "; the fleet has " +
              std::to_string(capacity.cpu_millicores) + " milli-cores, " +
              std::to_string(capacity.memory_bytes >> 20) + " MiB and " + fleet_.gpus_text() +
              (by_memory ? "; " + fleet_.vram_text() : "")};
}

Result<> Deployments::check_fleet(const FunctionSpec& spec) const {
  if (!fleet_.has_met()) {
    return {ErrorCode::unavailable, "no node has connected yet; try again in a few seconds"};
  }
  if (auto fits = check_placeable(spec); !fits) return fits;
  return check_sandbox(spec);
}

// The node refuses it as well, should its isolation change after the deploy.
Result<> Deployments::check_sandbox(const FunctionSpec& spec) const {
  const SandboxSettings& sandbox = spec.sandbox;
  const NodeHello& node = fleet_.hello();
  const bool gvisor = sandbox.isolation == IsolationClass::gvisor;
  const auto refused = [&](const std::string& setting, const std::string& why) {
    return Error{ErrorCode::conflict, spec.name + " asks for " + setting + ", which " + why};
  };
  if (node.isolation == "process") {
    const char* why =
        "takes containers; here functions run as plain processes, on the machine's own network: "
        "start Ember as root, or leave the setting out";
    if (sandbox.network.access == NetworkAccess::none) return refused("network=\"none\"", why);
    if (sandbox.network.access == NetworkAccess::listed) return refused("a network list", why);
    if (sandbox.ephemeral_disk_bytes > 0) return refused("an ephemeral disk", why);
    if (sandbox.isolation != IsolationClass::of_the_node) return refused("an isolation", why);
  }
  if (gvisor && !node.no_gvisor.empty()) {
    return refused("isolation=\"gvisor\"", "this node cannot give: " + node.no_gvisor);
  }
  if (gvisor && !spec.settings.resources.gpu.empty()) {
    return refused("a GPU with isolation=\"gvisor\"",
                   "is not to be had there: use the isolation \"container\"");
  }
  if (gvisor && sandbox.network.access == NetworkAccess::listed) {
    return refused("a network list with isolation=\"gvisor\"",
                   "cannot be kept there: use \"internet\" or \"none\", or the isolation "
                   "\"container\"");
  }
  return Ok{};
}

Result<> Deployments::check_volumes(const FunctionSpec& spec) const {
  const bool mounts = !spec.volumes.empty() || spec.checkpoints;
  if (mounts && fleet_.hello().isolation == "process") {
    return {ErrorCode::conflict,
            spec.name + (spec.checkpoints ? " has checkpoints" : " mounts volumes") +
                ", which takes containers; here functions run as plain processes: start Ember as "
                "root"};
  }
  if (spec.checkpoints && spec.sandbox.isolation == IsolationClass::gvisor) {
    return {ErrorCode::conflict,
            spec.name +
                " has checkpoints, which isolation=\"gvisor\" cannot give: a container "
                "there sees no newer version; use the isolation \"container\""};
  }
  for (const VolumeMount& mount : spec.volumes) {
    auto found = volumes_.version(mount.volume, mount.version);
    if (!found) return std::move(found).error().within(spec.name);
  }
  return Ok{};
}

Result<> Deployments::check_schedule(const FunctionSpec& spec) const {
  if (!spec.schedule) return Ok{};
  const auto zone = zones_.find(spec.schedule->timezone);
  if (!zone) return Error(zone.error()).within("the schedule of " + spec.name);
  return Ok{};
}

Result<> Deployments::check_request(const std::string& app, const DeployRequest& request) const {
  if (auto named = check_name("app", app); !named) return named;
  if (!fleet_.has_met()) {
    return {ErrorCode::unavailable, "no node has connected yet; try again in a few seconds"};
  }
  const App* existing = catalog_.find_app(app);
  if (!existing && catalog_.apps().size() >= kMaxApps) {
    return {ErrorCode::resource_exhausted, "there are 10000 apps already; use other names"};
  }
  const bool deployed = existing && !existing->record.stopped && !existing->record.ephemeral;
  if (request.ephemeral && deployed) {
    return {ErrorCode::conflict,
            "the app " + app + " is deployed; run it under another name, or stop it first"};
  }
  for (const FunctionSpec& spec : request.functions) {
    if (auto fits = check_fleet(spec); !fits) return fits;
    if (auto given = secrets_.check(spec.secrets, spec.name); !given) return given;
    if (auto there = check_volumes(spec); !there) return there;
    if (auto known = check_schedule(spec); !known) return known;
    if (!images_.is_built(spec.image)) {
      return {ErrorCode::conflict,
              "the image " + image_id(spec.image) + " of " + spec.name +
                  " is not built; have it built first, as `ember deploy` does"};
    }
  }
  return Ok{};
}

void Deployments::deploy(std::string app, const std::string& request_json, Done done) {
  auto request = parse_deploy_request(request_json);
  if (!request) return done(std::move(request).error());
  if (request->ephemeral) forget_labels(request->functions);
  rank_gpus();
  if (auto fits = check_request(app, *request); !fits) return done(std::move(fits).error());
  if (auto begun = begin(app); !begun) return done(std::move(begun).error());
  Change change{std::move(app),   request->ephemeral,
                request->source,  request->ephemeral ? "run" : "deploy",
                request->rollout, std::move(request->functions)};
  const std::string source = change.source;
  background_.run(
      [this, source] { return sources_.materialise(source); },
      [this, change = std::move(change), done = std::move(done)](const Result<>& laid_out) mutable {
        if (laid_out.ok()) return publish(std::move(change), std::move(done));
        end(change.app);
        done(laid_out.error());
      });
}

// One that no app bears: by the time, and then the next that is free.
std::string Deployments::name_for_shell(const std::string& app) const {
  for (auto number = static_cast<std::uint64_t>(driver_.now().whole_ms());; ++number) {
    const std::string digits = id_digits(number);
    const std::string suffix = "-shell-" + digits.substr(digits.size() - kShellDigits);
    const std::string name = app.substr(0, kMaxAppName - suffix.size()) + suffix;
    if (!catalog_.find_app(name) && !changing_.contains(name)) return name;
  }
}

void Deployments::open_shell(const std::string& app, const std::string& function, Done done) {
  const FunctionPtr* found = catalog_.find_function(app, function);
  if (!found) {
    const App* known = catalog_.find_app(app);
    if (!known || known->record.stopped) return done(catalog_.not_running(app));
    return done({ErrorCode::not_found, "the app " + app + " has no function \"" + function +
                                           "\"; `ember function list " + app + "` shows them"});
  }
  FunctionSpec spec = (*found)->spec;
  spec.module = kShellModule;
  spec.qualname = kShellFunction;
  spec.is_async = false;
  spec.parameters = "[]";
  spec.of_class = {};
  spec.web = {};
  spec.is_generator = false;
  spec.schedule = {};
  spec.settings.batching = {};
  Scaling& scaling = spec.settings.scaling;
  scaling.min_containers = scaling.max_containers = 1;
  scaling.buffer_containers = 0;
  scaling.max_inputs = scaling.target_inputs = 1;
  Change change{name_for_shell(app), true, (*found)->source, "shell", Rollout::recreate,
                {std::move(spec)}};
  if (auto begun = begin(change.app); !begun) return done(std::move(begun).error());
  const std::string source = change.source;
  background_.run(
      [this, source] { return sources_.materialise(source); },
      [this, change = std::move(change), done = std::move(done)](const Result<>& laid_out) mutable {
        if (laid_out.ok()) return publish_when_built(std::move(change), std::move(done));
        end(change.app);
        done(laid_out.error());
      });
}

void Deployments::rollback(std::string app, std::uint32_t version, Rollout rollout, Done done) {
  const App* found = catalog_.find_app(app);
  if (!found || found->record.stopped) return done(catalog_.not_running(app));
  const std::uint32_t current = found->record.version;
  if (rollouts_.is_under_way(app) && (version == 0 || version == current)) {
    return rollouts_.withdraw(app, "rolled back", [this, app, done](const Result<>& withdrawn) {
      if (!withdrawn) return done(withdrawn.error());
      done(answer(*catalog_.find_app(app)));
    });
  }
  if (version == current || (version == 0 && current == 1)) {
    return done({ErrorCode::conflict,
                 version == current ? "version " + std::to_string(version) + " is the current one"
                                    : "no version before the current one ever served"});
  }
  if (auto begun = begin(app); !begun) return done(std::move(begun).error());
  Change change{app, found->record.ephemeral, "", "", rollout, {}};
  if (version > 0) {
    return store_.query_version(
        found->record.id, version,
        background_.to_loop([this, change, done](const Result<VersionRecord>& record) {
          publish_version(change, record, done);
        }));
  }
  store_.query_versions(
      found->record.id,
      background_.to_loop([this, change, current,
                           done](const Result<std::vector<VersionRecord>>& versions) {
        if (!versions) return publish_version(change, versions.error(), done);
        const VersionRecord* before = nullptr;
        for (const VersionRecord& one : *versions) {
          if (one.version < current && one.withdrawn.empty()) before = &one;
        }
        if (before) return publish_version(change, *before, done);
        publish_version(change,
                        Error{ErrorCode::conflict, "no version before the current one ever served"},
                        done);
      }));
}

void Deployments::publish_version(Change change, const Result<VersionRecord>& version, Done done) {
  const auto refuse = [&](Error error) {
    end(change.app);
    done(std::move(error));
  };
  auto specs = version.ok() ? specs_of(*version) : version.error();
  if (!specs.ok()) return refuse(std::move(specs).error());
  change.message = "rollback to " + std::to_string(version->version);
  change.source = version->source;
  change.functions = std::move(specs).value();
  for (const FunctionSpec& spec : change.functions) {
    if (auto given = secrets_.check(spec.secrets, spec.name); !given) {
      return refuse(std::move(given).error());
    }
  }
  publish_when_built(std::move(change), std::move(done));
}

// The node may have been wiped since that version was built.
void Deployments::publish_when_built(Change change, Done done) {
  std::vector<ImageSpec> images;
  for (const FunctionSpec& spec : change.functions) images.push_back(spec.image);
  images_.require(std::move(images), [this, change = std::move(change),
                                      done = std::move(done)](const Result<>& built) mutable {
    if (built.ok()) return publish(std::move(change), std::move(done));
    end(change.app);
    done(built.error());
  });
}

void Deployments::publish(Change change, Done done) {
  const App* app = catalog_.find_app(change.app);
  const Time now = driver_.now();
  AppRecord record;
  record.id = app ? app->record.id : AppId{ids_.next(now)};
  record.name = change.app;
  record.ephemeral = change.ephemeral;
  record.newest = (app ? std::max(app->record.version, app->record.newest) : 0) + 1;
  record.version = record.newest;
  record.updated = now;
  const bool rolls = change.rollout == Rollout::rolling && !change.ephemeral && app &&
                     !app->record.stopped &&
                     rollouts_.has_containers_to_replace(*app, change.functions);
  if (rolls) record.version = app->record.version;
  VersionRecord version{record.id, record.newest, now, change.source, change.message, {}};
  std::vector<SecretUse*> uses;
  for (FunctionSpec& spec : change.functions) {
    for (SecretUse& use : spec.secrets) uses.push_back(&use);
  }
  if (auto claimed = claim_labels(change.app, change.functions); !claimed) {
    end(record.name);
    return done(std::move(claimed).error());
  }
  auto sealed = secrets_.seal_values(record.id, std::move(uses));
  if (!sealed) {
    end(record.name);
    return done(std::move(sealed).error());
  }
  for (const FunctionSpec& spec : change.functions) {
    FunctionId line = catalog_.line_id(change.app, spec.name);
    if (!line) line = FunctionId{ids_.next(now)};
    version.functions.push_back(
        {line, PoolId{ids_.next(now)}, spec.name, dump_json(to_json(spec))});
  }
  Batch batch{record, version};
  if (!rolls) batch.emplace_back(ForgottenScaling{record.id});
  if (rollouts_.is_under_way(change.app)) {
    batch.emplace_back(
        WithdrawnVersion{record.id, app->record.newest,
                         "version " + std::to_string(record.newest) + " was deployed"});
  }
  for (const SecretRecord& secret : *sealed) batch.emplace_back(secret);
  const auto outdated = outdated_secrets(record, change.functions);
  for (const SecretId id : outdated) batch.emplace_back(ForgottenSecret{id});
  store_.apply(std::move(batch),
               background_.to_loop([this, record, version, secrets = *std::move(sealed), outdated,
                                    done](const Result<>& written) {
                 if (written) {
                   secrets_.add(secrets);
                   secrets_.forget(outdated);
                 }
                 Result<> installed = written.ok() ? put_in_place(record, version) : written;
                 end(record.name);
                 if (!installed) return done(std::move(installed).error());
                 done(answer(*catalog_.find_app(record.name)));
               }));
}

Result<> Deployments::put_in_place(const AppRecord& record, const VersionRecord& version) {
  rollouts_.forget(record.name);
  return record.version == record.newest ? install(record, version)
                                         : rollouts_.begin(record, version);
}

// Of the app's secrets that were given as values. Containers of the version before may yet start.
std::vector<SecretId> Deployments::outdated_secrets(
    const AppRecord& record, const std::vector<FunctionSpec>& functions) const {
  std::set<SecretId> used;
  const auto note_uses = [&used](const FunctionSpec& spec) {
    for (const SecretUse& use : spec.secrets) used.insert(use.id);
  };
  std::ranges::for_each(functions, note_uses);
  if (const App* app = catalog_.find_app(record.name)) {
    for (const FunctionPtr& function : app->functions) note_uses(function->spec);
  }
  return secrets_.outdated(record.id, used);
}

Result<> Deployments::install(const AppRecord& record, const VersionRecord& version) {
  auto functions = catalog_.functions_of(version, record.name);
  if (!functions) return std::move(functions).error();
  catalog_.set_current(record, version.source, std::move(functions).value());
  App& app = *catalog_.find_app(record.name);
  app.lease_ends = record.ephemeral ? driver_.now() + kLease : Time::never();
  if (record.ephemeral) driver_.after(kLease, [this] { check_leases(); });
  driver_.handle(AppDeployed{record.id, pool_specs(app)});
  changed_(app);
  return Ok{};
}

JsonValue Deployments::functions_json(const std::vector<FunctionPtr>& functions) const {
  JsonValue list = JsonValue::array();
  for (const FunctionPtr& function : functions) {
    list.push_back({{"name", function->spec.name},
                    {"function_id", function->line->id.text()},
                    {"url", function_url(*function)},
                    {"web", web_json(*function)}});
  }
  return list;
}

// Of the version that was made, which the one before it may serve for yet.
std::string Deployments::answer(const App& app) const {
  const bool rolling = !app.rising.empty();
  return dump_json({{"app", app.name()},
                    {"app_id", app.record.id.text()},
                    {"version", rolling ? app.record.newest : app.record.version},
                    {"serving", app.record.version},
                    {"url", url_ + "/fn/" + app.name()},
                    {"functions", functions_json(rolling ? app.rising : app.functions)}});
}

Result<> Deployments::restore(const AppRecord& app, const VersionRecord& current) {
  return install(app, current);
}

std::string Deployments::function_url(const Function& function) const {
  return url_ + "/fn/" + function.app_name + "/" + function.spec.name;
}

JsonValue Deployments::web_json(const Function& function) const {
  JsonValue list = JsonValue::array();
  for (const WebCallable& web : web_callables(function.app_name, function.spec)) {
    list.push_back({{"name", web.name},
                    {"label", web.label},
                    {"url", web_origin_.url(web.label)},
                    {"unauthenticated", web.access == WebAccess::open}});
  }
  return list;
}

void Deployments::stop(const std::string& name, Done done) {
  const App* app = catalog_.find_app(name);
  if (!app) return done(AppCatalog::no_such_app(name));
  if (auto begun = begin(name); !begun) return done(std::move(begun).error());
  AppRecord record = app->record;
  record.stopped = true;
  record.updated = driver_.now();
  Batch batch{record};
  if (rollouts_.is_under_way(name)) {
    batch.emplace_back(WithdrawnVersion{record.id, record.newest, "the app was stopped"});
  }
  // Nobody rolls an ephemeral app back.
  const auto secrets = record.ephemeral ? secrets_.of_app(record.id) : std::vector<SecretId>();
  for (const SecretId id : secrets) batch.emplace_back(ForgottenSecret{id});
  store_.apply(
      std::move(batch), background_.to_loop([this, record, secrets, done](const Result<>& written) {
        if (written) rollouts_.forget(record.name);
        end(record.name);
        if (!written) return done(written.error());
        secrets_.forget(secrets);
        const auto of_app = [&](const Call* call) { return call->function->app == record.id; };
        const auto live = calls_.table().live_calls();
        const auto cancelled = std::ranges::count_if(live, of_app);
        catalog_.set_stopped(record);
        driver_.handle(AppStopped{record.id});
        changed_(*catalog_.find_app(record.name));
        done(dump_json({{"app", record.name}, {"cancelled", cancelled}}));
      }));
}

Result<> Deployments::heartbeat(std::string_view name) {
  App* app = catalog_.find_app(name);
  if (!app || app->record.stopped) return catalog_.not_running(name);
  if (app->record.ephemeral) {
    app->lease_ends = driver_.now() + kLease;
    driver_.after(kLease, [this] { check_leases(); });
  }
  return Ok{};
}

void Deployments::check_leases() {
  std::vector<std::string> over;
  for (const auto& [name, app] : catalog_.apps()) {
    if (!app.record.stopped && app.lease_ends <= driver_.now()) over.push_back(name);
  }
  for (const std::string& name : over) {
    spdlog::info("the ephemeral app {} had no heartbeat for 30 s; it is stopped", name);
    stop(name, [this, name](const Result<std::string>& stopped) {
      // The state could not be written: the lease stays over, look again.
      if (!stopped) driver_.after(kLease, [this] { check_leases(); });
    });
  }
}

}  // namespace ember

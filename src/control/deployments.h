// Deploying, rolling back and stopping apps. A change is durable first, then the engine learns of
// it, then it is answered; until all three the old version serves. One change of an app at a time.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "billing/price_book.h"
#include "control/app_catalog.h"
#include "control/background.h"
#include "control/calls.h"
#include "control/engine_driver.h"
#include "control/fleet.h"
#include "control/id_source.h"
#include "control/image_builds.h"
#include "control/rollouts.h"
#include "control/secrets.h"
#include "control/source_store.h"
#include "control/time_zones.h"
#include "control/volume_catalog.h"
#include "store/store.h"

namespace ember {

class Deployments {
 public:
  using Done = std::function<void(Result<std::string>)>;  // with the answer's JSON

  Deployments(EngineDriver& driver, AppCatalog& catalog, Store& store, Background& background,
              SourceStore& sources, ImageBuilds& images, Secrets& secrets, const NodeFleet& fleet,
              const Calls& calls, const VolumeCatalog& volumes, TimeZones& zones, IdSource& ids,
              const PriceBook& prices);

  void deploy(std::string app, const std::string& request_json, Done done);
  // Version 0: the one before the current one; while a newer one is rolled out, that is withdrawn.
  void rollback(std::string app, std::uint32_t version, Rollout rollout, Done done);
  void stop(const std::string& app, Done done);
  // An ephemeral app for a look around: one container with all that the function's have, but for
  // its user's code.
  void open_shell(const std::string& app, const std::string& function, Done done);
  Result<> heartbeat(std::string_view app);

  // Told of each app that has other functions now, or has been stopped.
  void on_change(std::function<void(const App&)> changed) { changed_ = std::move(changed); }

  // At start: what the store remembers.
  Result<> restore(const AppRecord& app, const VersionRecord& current);
  // At start: a version that was being rolled out comes up again, and its labels stay its own.
  Result<> resume_rollout(const AppRecord& app, const VersionRecord& version);
  Rollouts& rollouts() { return rollouts_; }
  const Rollouts& rollouts() const { return rollouts_; }

  // Whether a node could ever hold such a container, as it is to be held.
  Result<> check_fleet(const FunctionSpec& spec) const;

  // Where the gateway listens, without a final slash: known once it does.
  void set_url(std::string url) { url_ = std::move(url); }
  std::string function_url(const Function& function) const;
  void set_web_origin(WebOrigin origin) { web_origin_ = std::move(origin); }
  // Of an endpoint with that label.
  std::string web_url(std::string_view label) const { return web_origin_.url(label); }
  // Of a function, or of the methods of a class: a list of name, label, URL and who may call it.
  JsonValue web_json(const Function& function) const;

 private:
  struct Change;  // a version on its way

  Result<> check_request(const std::string& app, const DeployRequest& request) const;
  Result<> check_placeable(const FunctionSpec& spec) const;
  Result<> check_sandbox(const FunctionSpec& spec) const;
  Result<> check_volumes(const FunctionSpec& spec) const;
  Result<> check_schedule(const FunctionSpec& spec) const;
  std::string name_for_shell(const std::string& app) const;
  Result<> claim_labels(const std::string& app, const std::vector<FunctionSpec>& functions);
  Result<> begin(const std::string& app);
  void end(const std::string& app);
  void publish(Change change, Done done);
  Result<> put_in_place(const AppRecord& record, const VersionRecord& version);
  void publish_version(Change change, const Result<VersionRecord>& version, Done done);
  void publish_when_built(Change change, Done done);
  std::vector<SecretId> outdated_secrets(const AppRecord& record,
                                         const std::vector<FunctionSpec>& functions) const;
  Result<> install(const AppRecord& record, const VersionRecord& version);
  std::string answer(const App& app) const;
  JsonValue functions_json(const std::vector<FunctionPtr>& functions) const;
  void rank_gpus();
  void check_leases();

  EngineDriver& driver_;
  AppCatalog& catalog_;
  Store& store_;
  Background& background_;
  SourceStore& sources_;
  ImageBuilds& images_;
  Secrets& secrets_;
  const NodeFleet& fleet_;
  const Calls& calls_;
  const VolumeCatalog& volumes_;
  TimeZones& zones_;
  IdSource& ids_;
  const PriceBook& prices_;
  std::function<void(const App&)> changed_ = [](const App&) {};
  std::string url_;
  WebOrigin web_origin_;
  Rollouts rollouts_;
  std::set<std::string> changing_;              // apps
  std::map<std::string, std::string> claimed_;  // labels, and the app that is to have them
};

}  // namespace ember

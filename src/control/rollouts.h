// Versions that come up beside the one before them. That one goes on serving, all of it, until each
// function that has containers has enough of the new version's; then the app's calls go to the new
// version, at once and as a whole. Where these do not come up the new version is withdrawn, and
// nothing has changed. What is under way is durable, and goes on after a restart.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "control/app_catalog.h"
#include "control/background.h"
#include "control/engine_driver.h"
#include "store/store.h"

namespace ember {

class Rollouts {
 public:
  // Of whoever changes apps. One change of an app at a time: `lock` says whether it may begin.
  struct Changes {
    std::function<bool(const std::string& app)> lock;
    std::function<void(const std::string& app)> unlock;
    std::function<void(const App& app)> changed;
  };

  Rollouts(EngineDriver& driver, AppCatalog& catalog, Store& store, Background& background,
           Changes changes);

  // Whether the app has containers that a version with these functions could come up beside.
  bool has_containers_to_replace(const App& app, const std::vector<FunctionSpec>& functions) const;
  // The version is on disk, and comes up from now on.
  Result<> begin(const AppRecord& record, const VersionRecord& version);
  // At a start: nobody knows yet what the version before has.
  Result<> resume(const AppRecord& record, const VersionRecord& version);
  // Somebody else ends it, durably; here it is forgotten. Its containers go with the next deploy.
  void forget(const std::string& app) { looks_.erase(app); }
  // Ends it without anything having changed.
  void withdraw(const std::string& app, std::string why, std::function<void(Result<>)> done);

  bool is_under_way(const std::string& app) const { return looks_.contains(app); }
  // Why it has not taken over yet, in one line.
  std::string waits_for(const App& app) const;
  // A container has come up, or has gone.
  void look_soon();

 private:
  enum class Known : std::uint8_t { from_engine, nothing };

  Result<> install(const AppRecord& record, const VersionRecord& version, Known known);
  void look_later(const std::string& app);
  void look();
  void look_at(const std::string& name);
  bool is_up(const Function& function) const;
  // One line; empty while it may yet come up.
  std::string why_not_up(const Function& function) const;
  void take_over(App& app);
  void taken_over(AppRecord record);

  EngineDriver& driver_;
  AppCatalog& catalog_;
  Store& store_;
  Background& background_;
  const Changes changes_;
  std::map<std::string, Time> looks_;  // at apps with one under way: not before then
  bool looking_ = false;
};

// Whether what waits for the one can be run by the other: each of its methods is there, of its
// kind.
bool can_replace(const FunctionSpec& before, const FunctionSpec& after);

}  // namespace ember

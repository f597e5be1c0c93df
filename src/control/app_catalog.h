// What is deployed: apps, the functions of their current versions, and the pools of older versions
// that still have calls or containers.
#pragma once

#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/control.h"
#include "control/function_spec.h"
#include "control/usual_start.h"
#include "engine/event.h"
#include "model/variant.h"
#include "store/store.h"

namespace ember {

// Counts for /metrics since this server started.
struct FunctionStats {
  std::uint64_t succeeded = 0, errors = 0, timeouts = 0, cold_starts = 0;
  std::uint64_t gpu_ms_busy = 0, gpu_ms_cold = 0, gpu_ms_idle = 0;
  Money cost;
  std::array<std::uint64_t, std::size(kInvokeBucketsMs) + 1> invoke_buckets{};
  std::array<std::uint64_t, std::size(kInitBucketsMs) + 1> init_buckets{};
  std::int64_t invoke_sum_us = 0, init_sum_us = 0;

  void add_invocation(Duration execute);
  void add_start(Duration init);
};

// A named function of an app over all its versions.
struct FunctionLine {
  FunctionId id;
  FunctionStats stats;
  UsualStart usual_start = {};
};

// Why containers of a pool did not come up, for the callers that are failed for it.
struct StartFailure {
  std::string message;
  std::string body;  // the runner's error body, where it got that far

  // What the runner said where it got that far.
  std::string first_line() const;
};

// One function of one version of an app: one pool. Calls, containers and records of recent calls
// share it, because they outlive the version's time in the catalog.
struct Function {
  AppId app;
  std::string app_name;
  std::uint32_t version = 0;
  std::string source;
  PoolId pool;
  FunctionSpec spec;
  std::shared_ptr<FunctionLine> line;  // shared with the other versions
  StartFailure last_start_failure = {};
  StartsUnderWay starts = {};
  Scaling scaling = spec.settings.scaling;  // as it is now (scaling_changes.h)
  // --- of a variant; else empty ---
  VariantId variant = {};
  FunctionId variant_line = {};        // the same over all versions
  std::string class_arguments = "{}";  // JSON: what instances of its class are made with
  std::string options = "{}";          // JSON: how its spec differs from the deployed one
  Time used = {};                      // last called
  // --- while its version is rolled out ---
  PoolId replaces = {};              // of the version before it
  std::uint32_t own_containers = 0;  // that it is to have before its version takes over

  // Whose maximum its containers count for.
  FunctionId counted_as() const { return variant ? variant_line : line->id; }
};
using FunctionPtr = std::shared_ptr<Function>;

struct App {
  AppRecord record;
  std::string source;
  std::vector<FunctionPtr> functions;         // of the current version; none when stopped
  std::map<VariantId, FunctionPtr> variants;  // of these
  std::vector<FunctionPtr> rising;            // of the newest version, while it is rolled out
  std::map<std::string, std::shared_ptr<FunctionLine>> lines;
  Time lease_ends = Time::never();  // of an ephemeral app

  const std::string& name() const { return record.name; }
  // Of the current version, and of one that is rolled out.
  std::vector<FunctionPtr> all_functions() const;
};

// What the name of a call stands for.
struct Callable {
  const FunctionPtr* function = nullptr;  // null: nothing
  std::uint8_t method = 0;                // of a class
};
// The name that stands for it.
std::string callable_name(const Function& function, std::uint8_t method);

// A function, or a method of a class, that is a web endpoint.
struct WebCallable {
  std::string name;  // of the function, or "CLASS.METHOD"
  std::string label;
  std::uint8_t method = 0;
  WebAccess access = WebAccess::by_key;
};
std::vector<WebCallable> web_callables(std::string_view app, const FunctionSpec& spec);

class AppCatalog {
 public:
  // In which order GPU types are tried for a demand that names none. Before any function is made.
  void rank_gpus(std::vector<GpuChoice> cheapest_first) {
    ranked_gpus_ = std::move(cheapest_first);
  }
  // Gives a demand that names no type all of them, in that order: which devices have as much memory
  // as it asks for is theirs to say.
  void settle(GpuDemand& demand) const;

  // Makes the functions of a version, on the lines of those that the app has already.
  Result<std::vector<FunctionPtr>> functions_of(const VersionRecord& version,
                                                const std::string& app_name) const;

  // These are the app's current functions from now on.
  void set_current(const AppRecord& record, std::string source, std::vector<FunctionPtr> functions);
  void set_stopped(const AppRecord& record);
  // Functions of an older version whose containers may still live. The caller keeps them alive.
  void remember(const std::vector<FunctionPtr>& functions);

  App* find_app(std::string_view name);
  const App* find_app(std::string_view name) const;
  static Error no_such_app(std::string_view name);
  // Why nothing of that name can be called or changed: it is not there, or it is stopped.
  Error not_running(std::string_view name) const;
  // The function or class of that very name; null if there is none. No allocation.
  const FunctionPtr* find_function(std::string_view app, std::string_view function) const;
  // What a call of this name goes to now: a function, or "CLASS.METHOD". No allocation.
  Callable find_callable(std::string_view app, std::string_view name) const;
  // What a web label stands for now.
  Callable find_label(std::string_view label) const;

  // --- variants ---
  // That of the deployed function with this id; null if there is none. No allocation.
  const FunctionPtr* find_variant(const Function& deployed, std::string_view id) const;
  // Makes what a record says, of the function of the version that the record names.
  Result<FunctionPtr> variant_of(const Function& deployed, const VariantRecord& record) const;
  // It is one of the app's from now on, until its next version.
  void add_variant(const FunctionPtr& variant);
  void drop_variant(const Function& variant);
  // Null once nothing uses the pool any more.
  FunctionPtr by_pool(PoolId pool) const;
  // The id of the app's function of that name; zero if it is new here.
  FunctionId line_id(std::string_view app, const std::string& function) const;

  const std::map<std::string, App, std::less<>>& apps() const { return apps_; }

 private:
  struct CallableKey {
    std::string_view app, function;
    friend bool operator==(const CallableKey&, const CallableKey&) = default;
  };
  struct CallableHash {
    std::size_t operator()(const CallableKey& key) const;
  };

  struct Labelled {
    FunctionPtr function;
    std::uint8_t method = 0;
  };

  void withdraw(App& app);
  void forget_expired_pools();

  std::vector<GpuChoice> ranked_gpus_;
  std::map<std::string, App, std::less<>> apps_;
  // Keys view into the functions themselves.
  boost::unordered_flat_map<CallableKey, FunctionPtr, CallableHash> callable_;
  std::map<std::string, Labelled, std::less<>> labels_;  // of current functions
  boost::unordered_flat_map<PoolId, std::weak_ptr<Function>, IdHash> pools_;
  boost::unordered_flat_map<VariantId, FunctionPtr, IdHash> variants_;  // of all apps
};

PoolSpec pool_spec(const Function& function);
// Of its functions and their variants, and of those of the version that is rolled out.
std::vector<PoolSpec> pool_specs(const App& app);

}  // namespace ember

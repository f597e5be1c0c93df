// Changes of how pools of deployed functions are scaled, without a deploy: on disk before they are
// answered, and gone with the next version.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "control/app_catalog.h"
#include "control/background.h"
#include "control/engine_driver.h"
#include "store/store.h"

namespace ember {

class ScalingChanges {
 public:
  using Done = std::function<void(Result<std::string>)>;  // with the answer's JSON

  ScalingChanges(EngineDriver& driver, AppCatalog& catalog, Store& store, Background& background)
      : driver_(driver), catalog_(catalog), store_(store), background_(background) {}

  // Those fields of the request alone; answers with all that hold now. The variant's id may be
  // empty: the function as it is deployed.
  void change(const std::string& app, const std::string& function, const std::string& variant,
              const std::string& request_json, Done done);
  // What the pool has to do, and with what.
  Result<std::string> stats_json(std::string_view app, std::string_view function,
                                 std::string_view variant) const;
  // At start, once the current versions and their variants are there.
  Result<> restore(const ScalingRecord& record);

 private:
  Result<FunctionPtr> find(std::string_view app, std::string_view function,
                           std::string_view variant) const;
  void apply(Function& function, const Scaling& scaling);

  EngineDriver& driver_;
  AppCatalog& catalog_;
  Store& store_;
  Background& background_;
};

}  // namespace ember

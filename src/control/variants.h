// Variants of deployed functions: pools beside those of the version, made when they are first asked
// for. One is on disk before it is answered, so that its containers are known after a restart. The
// next version of its app has none of them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "control/app_catalog.h"
#include "control/background.h"
#include "control/deployments.h"
#include "control/engine_driver.h"
#include "control/id_source.h"
#include "control/variant_spec.h"
#include "store/store.h"

namespace ember {

class Variants {
 public:
  using Done = std::function<void(Result<std::string>)>;  // with the answer's JSON

  Variants(EngineDriver& driver, AppCatalog& catalog, Store& store, Background& background,
           const Deployments& deployments, IdSource& ids)
      : driver_(driver),
        catalog_(catalog),
        store_(store),
        background_(background),
        deployments_(deployments),
        ids_(ids) {}

  // Answers with {"variant": id}; with null for what is no different from what is deployed.
  void make(const std::string& app, const std::string& function, const std::string& request_json,
            Done done);
  // At start: one of an app's current version.
  Result<> restore(const VariantRecord& record);

 private:
  struct Waiting {
    std::string app, function, request_json;
    Done done;
  };

  VariantRecord record_of(const Function& deployed, const Difference& difference);
  // Gives up, where there are too many, the one that nobody has used for longest.
  Result<std::vector<Write>> make_room(const App& app);
  void write(const VariantRecord& record, std::vector<Write> batch);
  void written(const VariantRecord& record, const Result<>& result);

  EngineDriver& driver_;
  AppCatalog& catalog_;
  Store& store_;
  Background& background_;
  const Deployments& deployments_;
  IdSource& ids_;
  std::map<VariantId, std::vector<Waiting>> coming_;  // on their way to the disk
};

}  // namespace ember

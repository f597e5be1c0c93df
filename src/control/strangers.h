// Containers that have ended and that this server does not know: whose they were.
//
// An earlier server may have died before it had written one down, or this one no longer waited for
// its start; what it held is billed all the same. Or it has been billed, and the node tells its end
// again because the word of that did not get through.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "control/app_catalog.h"
#include "control/background.h"
#include "control/variant_spec.h"
#include "node/node_client.h"
#include "store/store.h"

namespace ember {

// A container of an earlier server that has not been seen to end.
struct Awaited {
  ContainerRecord record;
  Time billed_until;
  std::int64_t egress_billed_bytes = 0;
  FunctionPtr function;  // null where it is not known any more
};

class Strangers {
 public:
  Strangers(Store& store, Background& background, AppCatalog& catalog)
      : store_(store), background_(background), catalog_(catalog) {}

  // `done` on the loop, with what it is to be billed as from its beginning; with conflict if it is
  // on record, and so has been or will be billed; with not_found if its function is not known; with
  // another error if the store cannot tell.
  using Done = std::function<void(Result<Awaited>)>;
  void identify(const ContainerExit& exit, Done done);

 private:
  struct Labels {
    std::string app;
    std::uint32_t version = 0;
    PoolId pool;
    std::string function;
    std::optional<VariantId> variant;  // of the function, which then differs as follows
    Difference difference;
  };
  static Result<Labels> labels_of(const ContainerExit& exit);
  void find_function(const ContainerExit& exit, Done done);
  Result<Awaited> of_version(const ContainerExit& exit, const Labels& labels,
                             const VersionRecord& version);
  Result<FunctionPtr> variant_of(const Function& deployed, const Labels& labels) const;

  Store& store_;
  Background& background_;
  AppCatalog& catalog_;
};

}  // namespace ember

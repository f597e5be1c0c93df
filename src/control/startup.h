// Takes up where the last server stopped: what is deployed, and which containers may still live.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "control/app_catalog.h"
#include "control/background.h"
#include "control/containers.h"
#include "control/deployments.h"
#include "control/scaling_changes.h"
#include "control/variants.h"
#include "store/store.h"

namespace ember {

class Startup {
 public:
  Startup(Store& store, Background& background, AppCatalog& catalog, Deployments& deployments,
          Variants& variants, ScalingChanges& scaling, Containers& containers)
      : store_(store),
        background_(background),
        catalog_(catalog),
        deployments_(deployments),
        variants_(variants),
        scaling_(scaling),
        containers_(containers) {}

  // `ready` once all is known that a node's report is held against.
  void restore(const Snapshot& snapshot, std::function<void()> ready);

 private:
  void restore_apps(const Snapshot& snapshot);
  void restore_rollout(const AppRecord& app);
  void restore_containers(const Snapshot& snapshot);
  // Versions of stopped apps are not in the snapshot.
  void ask_for_versions(const AppRecord& app);
  void await(const ContainerRecord& record);
  FunctionPtr function_of(const ContainerRecord& record) const;
  FunctionPtr variant_of(const VariantRecord& record, const VersionRecord& version) const;

  Store& store_;
  Background& background_;
  AppCatalog& catalog_;
  Deployments& deployments_;
  Variants& variants_;
  ScalingChanges& scaling_;
  Containers& containers_;
  std::function<void()> ready_;
  std::map<AppId, AppRecord> apps_;
  std::map<AppId, std::vector<VersionRecord>> versions_;
  std::map<PoolId, VariantRecord> variant_records_;
  std::map<ContainerId, BilledSoFar> billed_;
  std::vector<ContainerRecord> undecided_;  // wait for the versions of their app
  std::size_t questions_ = 0;               // to the store, not answered yet
};

}  // namespace ember

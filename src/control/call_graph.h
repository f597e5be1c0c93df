// A call and all that it has made, as a tree: what lives and what has ended of late from memory,
// what was spawned from the store. It is made level by level, on the loop's thread.
#pragma once

#include "control/async_calls.h"
#include "control/background.h"
#include "control/listings.h"
#include "store/store.h"

namespace ember {

class CallGraph {
 public:
  CallGraph(const CallTable& calls, const Listings& listings, Store& store, Background& background)
      : calls_(calls), listings_(listings), store_(store), background_(background) {}

  void draw(CallId root, AsyncCalls::Done done);

 private:
  struct Drawing;
  using Shared = std::shared_ptr<Drawing>;  // by what is asked of the store for it

  bool add_known(Drawing& drawing, CallId call) const;
  void add_level(const Shared& drawing);
  std::vector<CallId> known_children(const Drawing& drawing) const;

  const CallTable& calls_;
  const Listings& listings_;
  Store& store_;
  Background& background_;
};

}  // namespace ember

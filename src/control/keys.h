// Making, listing and revoking API keys: each change is on disk before it is answered.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "control/background.h"
#include "control/engine_driver.h"
#include "control/id_source.h"
#include "control/key_ring.h"
#include "store/store.h"

namespace ember {

class Keys {
 public:
  using Done = std::function<void(Result<std::string>)>;  // with a document

  Keys(EngineDriver& driver, Store& store, Background& background, IdSource& ids)
      : driver_(driver), store_(store), background_(background), ids_(ids) {}

  void restore(const KeyRecord& record) { ring_.add(record); }
  // The key of the data directory: made known unless it already is. It cannot be revoked while it
  // is the directory's, so that whoever owns that is never locked out.
  void ensure_own(const std::string& key_text, const std::string& name,
                  std::function<void(Result<>)> done);
  void create(const std::string& request_json, Done done);
  // By id, or by the name of one that is usable. It opens nothing from now on.
  void revoke(std::string_view id_or_name, Done done);
  std::string list() const;

  const KeyRing& ring() const { return ring_; }

 private:
  struct NewKey {
    std::string text, name;
    Time expires;
  };
  void add(const NewKey& key, std::function<void(Result<KeyRecord>)> done);
  // Those that ended long ago: until then they are told why they open nothing.
  void forget_ended();

  EngineDriver& driver_;
  Store& store_;
  Background& background_;
  IdSource& ids_;
  KeyRing ring_;
  KeyId own_;
  std::set<std::string, std::less<>> being_made_;  // names, on their way to the disk
};

}  // namespace ember

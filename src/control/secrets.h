// The secrets of the workspace: sealed in the store and here, opened for the moment in which a
// runner is sent them. What goes in never comes out by any document.
//
// Anonymous ones hold what an app's source gives as values; they come and go with its versions.
// Without the master key that sealed them, or with another, secrets cannot be opened; new ones are
// then refused, lest two keys are mixed, until the right one is given or the sealed ones deleted.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control/app_catalog.h"
#include "control/background.h"
#include "control/engine_driver.h"
#include "control/id_source.h"
#include "control/sealed_box.h"
#include "control/secret_values.h"
#include "store/store.h"

namespace ember {

enum class WhileUsed { refuse, allow };

class Secrets {
 public:
  using Done = std::function<void(Result<std::string>)>;  // with a document

  Secrets(EngineDriver& driver, const AppCatalog& catalog, Store& store, Background& background,
          IdSource& ids, std::optional<MasterKey> key)
      : driver_(driver),
        catalog_(catalog),
        store_(store),
        background_(background),
        ids_(ids),
        key_(std::move(key)) {}

  void restore(const SecretRecord& record);  // each version, oldest first

  // A new secret, or the next version of the one with its name.
  void create(const JsonValue& request, Done done);
  void remove(std::string_view id_or_name, WhileUsed used, Done done);
  std::string list() const;
  Result<std::string> show(std::string_view id_or_name) const;
  // One line where there is something to do about them, else empty.
  std::string trouble() const;
  // Whether anything may be sealed with the master key that there is.
  Result<> may_seal() const;

  // Whether a container can be given them: they are there, can be opened and have the keys that
  // are required. The message begins with `who`.
  Result<> check(const std::vector<SecretUse>& uses, std::string_view who) const;
  // The body of a Secrets frame. To be wiped.
  Result<std::string> body_for(const std::vector<SecretUse>& uses) const;

  // The values of the secret with that name, which must have the keys. The message begins with
  // `who`.
  Result<SecretBytes> open(const std::string& name, std::vector<std::string> required_keys,
                           std::string_view who) const;

  // --- anonymous ones, written and forgotten together with a version of their app ---
  // Seals the values of the uses and has each refer to its secret, which is put on record with
  // the batch; add() makes it known once that is on disk.
  Result<std::vector<SecretRecord>> seal_values(AppId app, std::vector<SecretUse*> uses);
  void add(const std::vector<SecretRecord>& records);
  // Those of the app that no version uses which may come back: of the newest ones and of `kept`.
  std::vector<SecretId> outdated(AppId app, const std::set<SecretId>& kept) const;
  std::vector<SecretId> of_app(AppId app) const;
  void forget(const std::vector<SecretId>& ids);

 private:
  struct Past {
    std::uint32_t version = 0;
    Time created;
    std::vector<std::string> keys;
  };
  struct Secret {
    SecretRecord newest;
    std::vector<Past> past;  // the newest too, last
    bool opens = false;      // with the key that there is
  };

  const Secret* find(std::string_view id_or_name) const;
  const Secret* find(const SecretUse& use) const;
  Result<> check_use(const SecretUse& use, std::string_view who) const;
  std::size_t unopenable() const;
  SecretRecord sealed(SecretRecord record, const SecretValues& values) const;
  std::vector<std::string> users_of(const Secret& secret) const;
  JsonValue entry(const Secret& secret) const;

  EngineDriver& driver_;
  const AppCatalog& catalog_;
  Store& store_;
  Background& background_;
  IdSource& ids_;
  const std::optional<MasterKey> key_;
  std::map<SecretId, Secret> secrets_;
  std::map<std::string, SecretId, std::less<>> by_name_;
  std::set<std::string, std::less<>> changing_;  // names, on their way to the disk
};

}  // namespace ember

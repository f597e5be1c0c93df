#include "control/secrets.h"

#include <algorithm>
#include <utility>

#include "model/function.h"

namespace ember {
namespace {

constexpr std::size_t kMostSecrets = 10'000;
constexpr std::size_t kMostOfAnApp = 2'000;  // anonymous ones
constexpr std::size_t kDeploysKept = 20;     // whose anonymous secrets a rollback finds
constexpr const char* kWorkspaceName = "default";
constexpr const char* kRightKey =
    "start Ember with the master key that sealed it (the file master.key of the data directory, "
    "--master-key-env or --master-key-command)";

// What a box is bound to.
std::string place_of(const SecretRecord& record) {
  return record.workspace.text() + "/" + record.id.text() + "/" + std::to_string(record.version) +
         "/" + record.name;
}

template <class Unsigned>
void append(std::string& bytes, Unsigned value) {
  for (std::size_t i = 0; i < sizeof value; ++i) bytes += static_cast<char>(value >> (8 * i));
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all;
}

std::string assignments(const std::vector<std::string>& keys) {
  if (keys.empty()) return "KEY=-";
  std::string all;
  for (const std::string& key : keys) all += (all.empty() ? "" : " ") + key + "=-";
  return all;
}

std::string label(const SecretRecord& record) {
  return record.name.empty() ? record.id.text() : record.name;
}

}  // namespace

SecretRecord Secrets::sealed(SecretRecord record, const SecretValues& values) const {
  record.keys = values.keys();
  record.sealed = seal(*key_, place_of(record), values.encoded());
  return record;
}

void Secrets::restore(const SecretRecord& record) {
  Secret& secret = secrets_[record.id];
  secret.newest = record;
  secret.past.push_back({record.version, record.created, record.keys});
  if (secret.past.size() > kMostSecretVersions) secret.past.erase(secret.past.begin());
  secret.opens = key_ && unseal(*key_, place_of(record), record.sealed);
  if (!record.name.empty()) by_name_[record.name] = record.id;
}

void Secrets::add(const std::vector<SecretRecord>& records) {
  for (const SecretRecord& record : records) restore(record);
}

void Secrets::forget(const std::vector<SecretId>& ids) {
  for (const SecretId id : ids) {
    const auto found = secrets_.find(id);
    if (found == secrets_.end()) continue;
    by_name_.erase(found->second.newest.name);
    secrets_.erase(found);
  }
}

std::size_t Secrets::unopenable() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(secrets_, [](const auto& entry) { return !entry.second.opens; }));
}

std::string Secrets::trouble() const {
  const std::size_t count = unopenable();
  if (count == 0) return "";
  return "secrets: " + std::to_string(count) + " of " + std::to_string(secrets_.size()) + " " +
         (key_ ? "do not open with this master key" : "cannot be opened without a master key") +
         "; start Ember with the one that sealed them, or delete them (`ember secret list --all`)";
}

Result<> Secrets::may_seal() const {
  if (const std::string why = trouble(); !why.empty()) return {ErrorCode::conflict, why};
  if (!key_) return {ErrorCode::conflict, "this server has no master key"};
  return Ok{};
}

void Secrets::create(const JsonValue& request, Done done) {
  Fields fields(request, "");
  const std::string name = fields.text("name");
  const JsonValue* object = fields.object("values");
  if (auto read = fields.finish(); !read) return done(std::move(read).error());
  if (auto named = check_name("secret", name); !named) return done(std::move(named).error());
  if (!object) return done(Error{ErrorCode::invalid_argument, "values is missing"});
  auto values = SecretValues::parse(*object, "values");
  if (!values) return done(std::move(values).error());
  if (auto may = may_seal(); !may) return done(std::move(may).error());
  const Secret* before = find(name);
  if (!before && secrets_.size() >= kMostSecrets) {
    return done(Error{ErrorCode::resource_exhausted, "there are 10000 secrets; delete some first"});
  }
  if (!changing_.insert(name).second) {
    return done(Error{ErrorCode::conflict,
                      "another change of the secret " + name + " is under way; try again"});
  }
  SecretRecord record;
  record.id = before ? before->newest.id : SecretId{ids_.next(driver_.now())};
  record.version = before ? before->newest.version + 1 : 1;
  record.workspace = kDefaultWorkspace;
  record.name = name;
  record.created = driver_.now();
  record = sealed(std::move(record), *values);
  store_.apply({record},
               background_.to_loop([this, record, done = std::move(done)](Result<> written) {
                 changing_.erase(record.name);
                 if (!written) return done(std::move(written).error().within("keep the secret"));
                 restore(record);
                 done(dump_json(entry(secrets_.at(record.id))));
               }));
}

void Secrets::remove(std::string_view id_or_name, WhileUsed used, Done done) {
  const Secret* secret = find(id_or_name);
  if (!secret) {
    return done(Error{ErrorCode::not_found, "there is no secret \"" +
                                                std::string(id_or_name.substr(0, 64)) +
                                                "\"; `ember secret list` shows those there are"});
  }
  const SecretRecord& record = secret->newest;
  const auto users = users_of(*secret);
  if (!users.empty() && used == WhileUsed::refuse) {
    return done(Error{ErrorCode::conflict,
                      "the secret " + label(record) + " is used by " + joined(users) +
                          ": deploy without it first, or delete it with --force; new containers "
                          "then fail to start"});
  }
  if (!changing_.insert(label(record)).second) {
    return done(Error{ErrorCode::conflict, "another change of the secret " + label(record) +
                                               " is under way; try again"});
  }
  store_.apply(
      {ForgottenSecret{record.id}},
      background_.to_loop([this, id = record.id, label = label(record), shown = entry(*secret),
                           done = std::move(done)](Result<> written) {
        changing_.erase(label);
        if (!written) return done(std::move(written).error().within("delete the secret"));
        forget({id});
        done(dump_json(shown));
      }));
}

const Secrets::Secret* Secrets::find(std::string_view id_or_name) const {
  if (const auto named = by_name_.find(id_or_name); named != by_name_.end()) {
    return &secrets_.at(named->second);
  }
  const auto id = SecretId::parse(id_or_name);
  const auto found = id ? secrets_.find(*id) : secrets_.end();
  return found == secrets_.end() ? nullptr : &found->second;
}

const Secrets::Secret* Secrets::find(const SecretUse& use) const {
  const auto id = use.name.empty() ? use.id : SecretId{};
  if (!id) {
    const auto named = by_name_.find(use.name);
    return named == by_name_.end() ? nullptr : &secrets_.at(named->second);
  }
  const auto found = secrets_.find(id);
  return found == secrets_.end() ? nullptr : &found->second;
}

std::vector<std::string> Secrets::users_of(const Secret& secret) const {
  const SecretRecord& record = secret.newest;
  const auto is_it = [&](const SecretUse& use) {
    return record.name.empty() ? use.id == record.id : use.name == record.name;
  };
  std::vector<std::string> users;
  for (const auto& [name, app] : catalog_.apps()) {
    for (const FunctionPtr& function : app.all_functions()) {
      if (std::ranges::any_of(function->spec.secrets, is_it)) {
        users.push_back(name + "." + function->spec.name);
      }
    }
  }
  return users;
}

JsonValue Secrets::entry(const Secret& secret) const {
  const SecretRecord& record = secret.newest;
  return {{"secret_id", record.id.text()},
          {"name", record.name.empty() ? JsonValue() : JsonValue(record.name)},
          {"workspace", kWorkspaceName},
          {"version", record.version},
          {"keys", record.keys},
          {"created_ms", record.created.whole_ms()},
          {"used_by", users_of(secret)},
          {"opens", secret.opens}};
}

std::string Secrets::list() const {
  JsonValue rows = JsonValue::array();
  for (const auto& [id, secret] : secrets_) rows.push_back(entry(secret));
  return dump_json({{"secrets", std::move(rows)}});
}

Result<std::string> Secrets::show(std::string_view id_or_name) const {
  const Secret* secret = find(id_or_name);
  if (!secret) {
    return {ErrorCode::not_found, "there is no secret \"" + std::string(id_or_name.substr(0, 64)) +
                                      "\"; `ember secret list` shows those there are"};
  }
  JsonValue document = entry(*secret);
  JsonValue versions = JsonValue::array();
  for (auto past = secret->past.rbegin(); past != secret->past.rend(); ++past) {
    versions.push_back({{"version", past->version},
                        {"created_ms", past->created.whole_ms()},
                        {"keys", past->keys}});
  }
  document["versions"] = std::move(versions);
  return dump_json(document);
}

Result<> Secrets::check_use(const SecretUse& use, std::string_view who) const {
  const Secret* secret = find(use);
  const std::string needs = std::string(who) + " needs ";
  if (!secret && use.name.empty()) {
    return {ErrorCode::not_found,
            needs + "the values that it was once deployed with, which are gone; deploy it again"};
  }
  if (!secret) {
    return {ErrorCode::not_found, needs + "the secret \"" + use.name +
                                      "\", which is not there: `ember secret create " + use.name +
                                      " " + assignments(use.required_keys) + "` makes it"};
  }
  if (!secret->opens) {
    return {ErrorCode::conflict, needs + "the secret " + label(secret->newest) +
                                     ", which does not open: " + kRightKey +
                                     ", or make it anew after `ember secret delete`"};
  }
  std::vector<std::string> lacking;
  for (const std::string& key : use.required_keys) {
    if (!std::ranges::count(secret->newest.keys, key)) lacking.push_back(key);
  }
  if (lacking.empty()) return Ok{};
  return {ErrorCode::conflict,
          needs + joined(lacking) + " in the secret \"" + use.name + "\", which has " +
              joined(secret->newest.keys) + ": `ember secret create " + use.name + " " +
              assignments(use.required_keys) + "` makes a version that has what is required"};
}

Result<> Secrets::check(const std::vector<SecretUse>& uses, std::string_view who) const {
  for (const SecretUse& use : uses) {
    if (!use.values.empty()) continue;  // it brings its own
    if (auto fine = check_use(use, who); !fine) return fine;
  }
  return Ok{};
}

Result<std::string> Secrets::body_for(const std::vector<SecretUse>& uses) const {
  std::string body;
  std::vector<SecretBytes> opened;
  std::size_t bytes = 0;
  for (const SecretUse& use : uses) {
    const Secret* secret = find(use);
    auto values = secret && key_ ? unseal(*key_, place_of(secret->newest), secret->newest.sealed)
                                 : std::nullopt;
    if (!values) return {ErrorCode::start_failed, "a secret went away while the container started"};
    bytes += 6 + use.mount.size() + values->size();
    opened.push_back(std::move(*values));
  }
  body.reserve(bytes);  // so that no copy is left behind
  for (std::size_t i = 0; i < uses.size(); ++i) {
    append(body, static_cast<std::uint16_t>(uses[i].mount.size()));
    body += uses[i].mount;
    append(body, static_cast<std::uint32_t>(opened[i].size()));
    body += opened[i].view();
  }
  return body;
}

Result<SecretBytes> Secrets::open(const std::string& name, std::vector<std::string> required_keys,
                                  std::string_view who) const {
  SecretUse use;
  use.name = name;
  use.required_keys = std::move(required_keys);
  if (auto fine = check_use(use, who); !fine) return std::move(fine).error();
  const SecretRecord& newest = find(use)->newest;
  auto values = unseal(*key_, place_of(newest), newest.sealed);
  if (!values) {
    return {ErrorCode::conflict,
            std::string(who) + ": " + name + " cannot be opened; " + kRightKey};
  }
  return std::move(*values);
}

Result<std::vector<SecretRecord>> Secrets::seal_values(AppId app, std::vector<SecretUse*> uses) {
  std::vector<SecretRecord> records;
  std::erase_if(uses, [](const SecretUse* use) { return use->values.empty(); });
  if (uses.empty()) return records;
  if (auto may = may_seal(); !may) return std::move(may).error();
  if (of_app(app).size() + uses.size() > kMostOfAnApp ||
      secrets_.size() + uses.size() > kMostSecrets) {
    return {ErrorCode::resource_exhausted,
            "there are too many secrets given as values; give them names with `ember secret "
            "create`, and use Secret.from_name"};
  }
  const Time now = driver_.now();
  for (SecretUse* use : uses) {
    SecretRecord record;
    record.id = SecretId{ids_.next(now)};
    record.version = 1;
    record.workspace = kDefaultWorkspace;
    record.app = app;
    record.created = now;
    records.push_back(sealed(std::move(record), use->values));
    use->id = records.back().id;
    use->values = {};
  }
  return records;
}

std::vector<SecretId> Secrets::of_app(AppId app) const {
  std::vector<SecretId> ids;
  for (const auto& [id, secret] : secrets_) {
    if (secret.newest.name.empty() && secret.newest.app == app) ids.push_back(id);
  }
  return ids;
}

// Those of one deploy were made at one time.
std::vector<SecretId> Secrets::outdated(AppId app, const std::set<SecretId>& kept) const {
  const auto ids = of_app(app);
  std::set<Time> deploys;
  for (const SecretId id : ids) deploys.insert(secrets_.at(id).newest.created);
  while (deploys.size() > kDeploysKept) deploys.erase(deploys.begin());
  std::vector<SecretId> old;
  for (const SecretId id : ids) {
    if (!kept.contains(id) && !deploys.contains(secrets_.at(id).newest.created)) old.push_back(id);
  }
  return old;
}

}  // namespace ember

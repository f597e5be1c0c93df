#include "control/keys.h"

#include <utility>

#include "control/json.h"
#include "control/key_text.h"
#include "model/function.h"

namespace ember {
namespace {

constexpr std::size_t kMostKeys = 1'000;  // that are not revoked
constexpr std::size_t kMaxRequestBytes = 64u << 10;
constexpr const char* kWorkspaceName = "default";

JsonValue document_of(const KeyRecord& key, bool is_own) {
  const bool expires = key.expires != Time::never();
  return {{"key_id", key.id.text()},
          {"name", key.name},
          {"workspace", kWorkspaceName},
          {"created_ms", key.created.whole_ms()},
          {"expires_ms", expires ? JsonValue(key.expires.whole_ms()) : JsonValue()},
          {"state", key.revoked ? "revoked" : "usable"},
          {"own", is_own}};
}

Result<std::string> read_name(const std::string& request_json) {
  auto value = parse_json(request_json, "the request", kMaxRequestBytes);
  if (!value) return std::move(value).error();
  Fields fields(*value, "");
  std::string name = fields.text("name");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (auto valid = check_name("key", name); !valid) return std::move(valid).error();
  return name;
}

}  // namespace

void Keys::add(const std::string& key_text, const std::string& name,
               std::function<void(Result<KeyRecord>)> done) {
  const Time now = driver_.now();
  const KeyRecord record{KeyId{ids_.next(now)},
                         kDefaultWorkspace,
                         name,
                         hex(sha256(key_text)),
                         now,
                         Time::never(),
                         false};
  store_.apply({record},
               background_.to_loop([this, record, done = std::move(done)](Result<> written) {
                 if (!written) return done(std::move(written).error());
                 ring_.add(record);
                 done(record);
               }));
}

void Keys::ensure_own(const std::string& key_text, const std::string& name,
                      std::function<void(Result<>)> done) {
  if (const KeyRecord* known = ring_.find_text(key_text); known && !known->revoked) {
    own_ = known->id;
    return done(Ok{});
  } else if (known) {
    return done(Error{ErrorCode::conflict,
                      "it has been revoked; remove the file `key` of the data directory, and a new "
                      "one is made"});
  }
  add(key_text, name, [this, done = std::move(done)](Result<KeyRecord> made) {
    if (!made) return done(std::move(made).error());
    own_ = made->id;
    done(Ok{});
  });
}

void Keys::create(const std::string& request_json, Done done) {
  auto name = read_name(request_json);
  if (!name) return done(std::move(name).error());
  if (ring_.find_usable(*name) || being_made_.contains(*name)) {
    return done(Error{ErrorCode::conflict, "there is a key named " + *name +
                                               "; revoke it first, or choose another name"});
  }
  if (ring_.usable() + being_made_.size() >= kMostKeys) {
    return done(Error{ErrorCode::resource_exhausted,
                      "there are " + std::to_string(kMostKeys) + " keys; revoke some first"});
  }
  being_made_.insert(*name);
  std::string text = generate_key();
  add(text, *name, [this, name = *name, text, done = std::move(done)](Result<KeyRecord> made) {
    being_made_.erase(name);
    if (!made) return done(std::move(made).error().within("keep the key"));
    JsonValue document = document_of(*made, false);
    document["key"] = text;
    done(dump_json(document));
  });
}

void Keys::revoke(std::string_view id_or_name, Done done) {
  const auto id = KeyId::parse(id_or_name);
  const KeyRecord* key = id ? ring_.find(*id) : ring_.find_usable(id_or_name);
  if (!key) {
    return done(Error{ErrorCode::not_found, "there is no key \"" +
                                                std::string(id_or_name.substr(0, 64)) +
                                                "\"; `ember key list` shows those there are"});
  }
  if (key->id == own_) {
    return done(Error{ErrorCode::conflict,
                      "this is the key of the data directory, which `ember up` uses; to replace "
                      "it, remove the file `key` there, start `emberd serve` again, and revoke the "
                      "old one then"});
  }
  ring_.revoke(key->id);
  store_.apply({*key}, background_.to_loop([record = *key, done = std::move(done)](Result<> kept) {
    if (!kept) {
      return done(std::move(kept).error().within(
          "revoked, but not on disk yet: it would be good again after a restart; try again"));
    }
    done(dump_json(document_of(record, false)));
  }));
}

std::string Keys::list() const {
  JsonValue rows = JsonValue::array();
  for (const auto& [id, key] : ring_.keys()) rows.push_back(document_of(key, id == own_));
  return dump_json({{"keys", std::move(rows)}});
}

}  // namespace ember

#include "control/keys.h"

#include <utility>

#include "control/json.h"
#include "control/key_text.h"
#include "model/function.h"

namespace ember {
namespace {

constexpr std::size_t kMostKeys = 1'000;  // that are usable
constexpr std::size_t kMaxRequestBytes = 64u << 10;
constexpr const char* kWorkspaceName = "default";
constexpr Duration kDay = Duration::seconds(86'400);
constexpr Duration kKeptAfterEnd = kDay * 30;
constexpr Duration kLongestLife = kDay * 3'650;

const char* state_name(KeyState state) {
  switch (state) {
    case KeyState::usable:
      return "usable";
    case KeyState::revoked:
      return "revoked";
    case KeyState::expired:
      break;
  }
  return "expired";
}

JsonValue document_of(const KeyRecord& key, bool is_own, Time now) {
  const bool expires = key.expires != Time::never();
  return {{"key_id", key.id.text()},
          {"name", key.name},
          {"workspace", kWorkspaceName},
          {"created_ms", key.created.whole_ms()},
          {"expires_ms", expires ? JsonValue(key.expires.whole_ms()) : JsonValue()},
          {"state", state_name(state_of(key, now))},
          {"own", is_own}};
}

struct KeyRequest {
  std::string name;
  Duration lifetime;  // zero: for ever
};

Result<KeyRequest> read_request(const std::string& request_json) {
  auto value = parse_json(request_json, "the request", kMaxRequestBytes);
  if (!value) return std::move(value).error();
  Fields fields(*value, "");
  KeyRequest request;
  request.name = fields.text("name");
  const std::int64_t lifetime_ms = fields.integer_or("lifetime_ms", 0);
  if (lifetime_ms < 0 || lifetime_ms > kLongestLife.whole_ms()) {
    fields.fail("lifetime_ms", "must be 0 (for ever) to ten years");
  }
  request.lifetime = Duration::milliseconds(lifetime_ms);
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (auto valid = check_name("key", request.name); !valid) return std::move(valid).error();
  return request;
}

}  // namespace

void Keys::add(const NewKey& key, std::function<void(Result<KeyRecord>)> done) {
  const Time now = driver_.now();
  const KeyRecord record{KeyId{ids_.next(now)},
                         kDefaultWorkspace,
                         key.name,
                         hex(sha256(key.text)),
                         now,
                         key.expires,
                         Time{}};
  store_.apply({record},
               background_.to_loop([this, record, done = std::move(done)](Result<> written) {
                 if (!written) return done(std::move(written).error());
                 ring_.add(record);
                 done(record);
               }));
}

void Keys::ensure_own(const std::string& key_text, const std::string& name,
                      std::function<void(Result<>)> done) {
  const KeyRecord* known = ring_.find_text(key_text);
  if (known && state_of(*known, driver_.now()) != KeyState::usable) {
    return done(Error{ErrorCode::conflict,
                      "it has been revoked or has expired; remove the file `key` of the data "
                      "directory, and a new one is made"});
  }
  forget_ended();
  if (known) {
    own_ = known->id;
    return done(Ok{});
  }
  add({key_text, name, Time::never()}, [this, done = std::move(done)](Result<KeyRecord> made) {
    if (!made) return done(std::move(made).error());
    own_ = made->id;
    done(Ok{});
  });
}

void Keys::forget_ended() {
  Batch batch;
  for (const KeyId id : ring_.forget_ended_before(driver_.now() - kKeptAfterEnd, own_)) {
    batch.push_back(ForgottenKey{id});
  }
  // What cannot be written now is forgotten anew by the next server.
  if (!batch.empty()) store_.apply(std::move(batch), [](const Result<>&) {});
}

void Keys::create(const std::string& request_json, Done done) {
  auto request = read_request(request_json);
  if (!request) return done(std::move(request).error());
  const auto& [name, lifetime] = *request;
  const Time now = driver_.now();
  if (ring_.find_usable(name, now) || being_made_.contains(name)) {
    return done(Error{ErrorCode::conflict, "there is a key named " + name +
                                               "; revoke it first, or choose another name"});
  }
  if (ring_.usable(now) + being_made_.size() >= kMostKeys) {
    return done(Error{ErrorCode::resource_exhausted,
                      "there are " + std::to_string(kMostKeys) + " keys; revoke some first"});
  }
  forget_ended();
  being_made_.insert(name);
  const NewKey key{generate_key(), name, lifetime.us != 0 ? now + lifetime : Time::never()};
  add(key, [this, key, done = std::move(done)](Result<KeyRecord> made) {
    being_made_.erase(key.name);
    if (!made) return done(std::move(made).error().within("keep the key"));
    JsonValue document = document_of(*made, false, driver_.now());
    document["key"] = key.text;
    done(dump_json(document));
  });
}

void Keys::revoke(std::string_view id_or_name, Done done) {
  const auto id = KeyId::parse(id_or_name);
  const KeyRecord* key = id ? ring_.find(*id) : ring_.find_usable(id_or_name, driver_.now());
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
  const Time now = driver_.now();
  ring_.revoke(key->id, now);
  store_.apply(
      {*key}, background_.to_loop([record = *key, now, done = std::move(done)](Result<> kept) {
        if (!kept) {
          return done(std::move(kept).error().within(
              "revoked, but not on disk yet: it would be good again after a restart; try again"));
        }
        done(dump_json(document_of(record, false, now)));
      }));
}

std::string Keys::list() const {
  const Time now = driver_.now();
  JsonValue rows = JsonValue::array();
  for (const auto& [id, key] : ring_.keys()) rows.push_back(document_of(key, id == own_, now));
  return dump_json({{"keys", std::move(rows)}});
}

}  // namespace ember

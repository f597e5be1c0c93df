// The KEY=value pairs of one version of a secret, in the one form in which they are sealed and in
// which runners get them: for each u32 length and name, u32 length and value, little-endian.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "control/json.h"
#include "control/secret_bytes.h"
#include "model/secret.h"

namespace ember {

class SecretValues {
 public:
  // At most 64 KiB, names and values as check_env() has them. Messages name keys, never values.
  static Result<SecretValues> parse(const JsonValue& object, std::string_view path);

  bool empty() const { return keys_.empty(); }
  const std::vector<std::string>& keys() const { return keys_; }
  std::string_view encoded() const { return encoded_.view(); }

 private:
  std::vector<std::string> keys_;
  SecretBytes encoded_;
};

// The value of the key in the encoded form; a view of it.
std::optional<std::string_view> value_in(std::string_view encoded, std::string_view key);

// What a function says of a secret that it is given.
struct SecretUse {
  std::string name;     // of the workspace's secrets; empty: an anonymous one
  SecretId id;          // of the anonymous one; zero until its values are sealed
  SecretValues values;  // of the anonymous one, on their way from a deploy to being sealed
  std::vector<std::string> required_keys;
  std::string mount;  // where its keys are files; empty: they are variables of the environment
};

// `secrets` of a function. Of name, id and values each has one.
Result<std::vector<SecretUse>> parse_secret_uses(const JsonValue& list, const std::string& path);
// Without values.
JsonValue to_json(const SecretUse& use);

}  // namespace ember

#include "control/secret_values.h"

#include <algorithm>
#include <cstring>

#include "model/environment.h"
#include "model/function.h"

namespace ember {
namespace {

constexpr std::size_t kMaxBytes = 64u << 10;
constexpr std::size_t kMaxUses = 16;
constexpr std::size_t kMaxRequiredKeys = 256;
constexpr std::size_t kShownBytes = 64;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

void put(unsigned char*& at, std::string_view text) {
  const auto size = static_cast<std::uint32_t>(text.size());
  for (int i = 0; i < 4; ++i) *at++ = static_cast<unsigned char>(size >> (8 * i));
  at = std::copy(text.begin(), text.end(), at);
}

Result<std::vector<std::string>> parse_keys(const JsonValue* list, const std::string& path) {
  std::vector<std::string> keys;
  if (!list) return keys;
  if (list->size() > kMaxRequiredKeys) return invalid(path + " has more than 256 keys");
  for (const JsonValue& key : *list) {
    if (!key.is_string() || !is_env_name(key.get_ref<const std::string&>())) {
      return invalid(path + " must be a list of key names");
    }
    keys.push_back(key.get<std::string>());
  }
  return keys;
}

Result<> check_reference(const SecretUse& use, const std::string& path) {
  const int given = !use.name.empty() + !use.values.empty() + static_cast<bool>(use.id);
  if (given != 1) return invalid(path + " must have one of name and values");
  if (use.name.empty()) return Ok{};
  auto named = check_name("secret", use.name);
  return named ? std::move(named) : std::move(named).error().within(path + ".name");
}

std::uint32_t size_at(std::string_view text) {
  std::uint32_t size = 0;
  for (int i = 0; i < 4; ++i) size |= std::uint32_t{static_cast<unsigned char>(text[i])} << (8 * i);
  return size;
}

// Takes the next text of the encoded form off; nothing at its end.
std::optional<std::string_view> take_text(std::string_view& encoded) {
  if (encoded.size() < 4 || encoded.size() - 4 < size_at(encoded)) return std::nullopt;
  const std::string_view text = encoded.substr(4, size_at(encoded));
  encoded.remove_prefix(4 + text.size());
  return text;
}

Result<SecretUse> parse_use(const JsonValue& value, const std::string& path) {
  Fields fields(value, path + ".");
  SecretUse use;
  use.name = fields.text_or("name", "");
  use.mount = fields.text_or("mount", "");
  const std::string id = fields.text_or("id", "");
  const JsonValue* values = fields.object("values");
  const JsonValue* keys = fields.array("required_keys");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (!id.empty()) {
    const auto parsed = SecretId::parse(id);
    if (!parsed) return invalid(path + ".id is not a secret's id");
    use.id = *parsed;
  }
  if (values) {
    auto parsed = SecretValues::parse(*values, path + ".values");
    if (!parsed) return std::move(parsed).error();
    use.values = std::move(*parsed);
  }
  if (auto right = check_reference(use, path); !right) return std::move(right).error();
  auto required = parse_keys(keys, path + ".required_keys");
  if (!required) return std::move(required).error();
  use.required_keys = std::move(*required);
  if (use.mount.empty()) return use;
  if (auto fine = check_secret_mount(use.mount, path + ".mount"); !fine) {
    return std::move(fine).error();
  }
  return use;
}

}  // namespace

std::optional<std::string_view> value_in(std::string_view encoded, std::string_view key) {
  for (;;) {
    const auto name = take_text(encoded), value = take_text(encoded);
    if (!name || !value) return std::nullopt;
    if (*name == key) return value;
  }
}

Result<SecretValues> SecretValues::parse(const JsonValue& object, std::string_view path) {
  SecretValues values;
  std::size_t bytes = 0;
  for (const auto& [name, value] : object.items()) {
    const std::string where = std::string(path) + "." + name.substr(0, kShownBytes);
    if (!value.is_string()) return invalid(where + " must be a text");
    const auto& text = value.get_ref<const std::string&>();
    if (auto fine = check_variable(name, text, path); !fine) return std::move(fine).error();
    values.keys_.push_back(name);
    bytes += 8 + name.size() + text.size();
  }
  if (values.keys_.empty()) return invalid(std::string(path) + " has no keys; give at least one");
  if (bytes > kMaxBytes) {
    return Error{ErrorCode::payload_too_large, std::string(path) + " has " + std::to_string(bytes) +
                                                   " bytes; the most of a secret is 65536"};
  }
  values.encoded_ = SecretBytes(bytes);
  unsigned char* at = values.encoded_.data();
  for (const auto& [name, value] : object.items()) {
    put(at, name);
    put(at, value.get_ref<const std::string&>());
  }
  return values;
}

Result<std::vector<SecretUse>> parse_secret_uses(const JsonValue& list, const std::string& path) {
  std::vector<SecretUse> uses;
  if (list.size() > kMaxUses) return invalid(path + " has more than 16 secrets; merge some");
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto use = parse_use(list[i], path + "[" + std::to_string(i) + "]");
    if (!use) return std::move(use).error();
    uses.push_back(std::move(*use));
  }
  return uses;
}

JsonValue to_json(const SecretUse& use) {
  JsonValue value = JsonValue::object();
  if (use.name.empty()) {
    value["id"] = use.id.text();
  } else {
    value["name"] = use.name;
  }
  value["required_keys"] = use.required_keys;
  value["mount"] = use.mount;
  return value;
}

}  // namespace ember

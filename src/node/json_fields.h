// Reads the fields of a JSON object that somebody else wrote, without exceptions: the first field
// that is missing or of the wrong type is remembered, and everything after it reads as empty.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace ember {

class JsonFields {
 public:
  // Borrows the value.
  explicit JsonFields(const nlohmann::json& object) : object_(&object) {
    if (!object.is_object()) wrong_ = "an object";
  }

  std::string text(const char* name) {
    const auto* value = find(name);
    if (value == nullptr || !value->is_string()) return wrong(name), std::string();
    return *value->get_ptr<const std::string*>();
  }
  std::string text_or(const char* name, std::string otherwise) {
    return find(name) == nullptr ? otherwise : text(name);
  }
  std::int64_t integer(const char* name) {
    const auto* value = find(name);
    if (value == nullptr || !value->is_number_integer()) return wrong(name), 0;
    if (value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX) {
      return wrong(name), 0;
    }
    return value->get<std::int64_t>();
  }
  // As a type that is narrower; what it does not hold is wrong rather than cut.
  template <class Narrow>
  Narrow narrow(const char* name) {
    const std::int64_t value = integer(name);
    if (!std::in_range<Narrow>(value)) return wrong(name), Narrow{};
    return static_cast<Narrow>(value);
  }
  std::int64_t integer_or(const char* name, std::int64_t otherwise) {
    return find(name) == nullptr ? otherwise : integer(name);
  }
  bool flag(const char* name) {
    const auto* value = find(name);
    if (value == nullptr || !value->is_boolean()) return wrong(name), false;
    return value->get<bool>();
  }
  Time time(const char* name) { return {integer(name)}; }
  template <class Id>
  Id id(const char* name) {
    const auto parsed = Id::parse(text(name));
    if (!parsed) return wrong(name), Id{};
    return *parsed;
  }
  // The array; an empty one if it is missing.
  const nlohmann::json& array(const char* name) {
    static const nlohmann::json kEmpty = nlohmann::json::array();
    const auto* value = find(name);
    if (value == nullptr || !value->is_array()) return wrong(name), kEmpty;
    return *value;
  }
  std::vector<std::string> texts(const char* name) {
    std::vector<std::string> all;
    for (const auto& value : array(name)) {
      if (!value.is_string()) return wrong(name), all;
      all.push_back(*value.get_ptr<const std::string*>());
    }
    return all;
  }
  std::vector<std::string> texts_or_none(const char* name) {
    const auto* value = find(name);
    return value == nullptr || value->is_null() ? std::vector<std::string>() : texts(name);
  }
  // An object of texts; empty if it is missing.
  std::map<std::string, std::string> text_map_or_none(const char* name) {
    std::map<std::string, std::string> all;
    const auto* value = find(name);
    if (value == nullptr) return all;
    if (!value->is_object()) return wrong(name), all;
    for (const auto& [key, item] : value->items()) {
      if (!item.is_string()) return wrong(name), all;
      all.emplace(key, *item.template get_ptr<const std::string*>());
    }
    return all;
  }
  template <class Id>
  std::vector<Id> ids(const char* name) {
    std::vector<Id> all;
    for (const auto& text : texts(name)) {
      const auto parsed = Id::parse(text);
      if (!parsed) return wrong(name), all;
      all.push_back(*parsed);
    }
    return all;
  }
  // Reads the object of that name with `read(JsonFields&)`.
  template <class Read>
  void object(const char* name, Read read) {
    const auto* value = find(name);
    if (value == nullptr) return wrong(name);
    JsonFields inner(*value);
    read(inner);
    take_fault(name, inner);
  }
  // The same for each object of an array.
  template <class Read>
  void objects(const char* name, Read read) {
    for (const auto& value : array(name)) {
      JsonFields inner(value);
      read(inner);
      take_fault(name, inner);
    }
  }

  void wrong(std::string_view name) {
    if (wrong_.empty()) wrong_ = name;
  }
  Result<> check() const {
    if (wrong_.empty()) return Ok{};
    return {ErrorCode::invalid_argument, "missing or of the wrong type: " + wrong_};
  }

 private:
  const nlohmann::json* find(const char* name) const {
    if (!object_->is_object()) return nullptr;
    const auto found = object_->find(name);
    return found == object_->end() ? nullptr : &*found;
  }
  void take_fault(std::string_view name, const JsonFields& inner) {
    if (!inner.wrong_.empty()) wrong(std::string(name) + "." + inner.wrong_);
  }

  const nlohmann::json* object_;
  std::string wrong_;
};

}  // namespace ember

// Whether a JSON text keeps within the bounds of what anybody here writes, found out before
// anything is built of it: values nested without end, or objects of very many members, cost the
// builder far more than the bytes cost the sender.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

namespace ember {

inline constexpr std::size_t kMaxJsonDepth = 64;
inline constexpr std::size_t kMaxJsonMembers = 1000;  // of one object

enum class JsonShape { fine, too_deep, too_wide, not_json };

template <class Json>
class JsonBounds final : public nlohmann::json_sax<Json> {
 public:
  static JsonShape check(std::string_view text) {
    JsonBounds bounds;
    return Json::sax_parse(text, &bounds) ? JsonShape::fine : bounds.shape_;
  }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(typename Json::number_integer_t) override { return true; }
  bool number_unsigned(typename Json::number_unsigned_t) override { return true; }
  bool number_float(typename Json::number_float_t, const typename Json::string_t&) override {
    return true;
  }
  bool string(typename Json::string_t&) override { return true; }
  bool binary(typename Json::binary_t&) override { return true; }
  bool start_object(std::size_t) override { return begin(); }
  bool key(typename Json::string_t&) override {
    return ++members_.back() <= kMaxJsonMembers || stop(JsonShape::too_wide);
  }
  bool end_object() override { return end(); }
  bool start_array(std::size_t) override { return begin(); }
  bool end_array() override { return end(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 private:
  bool stop(JsonShape shape) {
    shape_ = shape;
    return false;
  }
  bool begin() {
    members_.push_back(0);
    return members_.size() <= kMaxJsonDepth || stop(JsonShape::too_deep);
  }
  bool end() {
    members_.pop_back();
    return true;
  }

  std::vector<std::size_t> members_;  // of each value that is open
  JsonShape shape_ = JsonShape::not_json;
};

}  // namespace ember

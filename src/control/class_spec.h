// What a class adds to a function: methods, which share its containers, and parameters, which its
// instances are made with. A class is one function; each set of parameters has a pool of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/json.h"
#include "control/web_spec.h"

namespace ember {

struct MethodSpec {
  std::string name;
  bool is_async = false;
  std::string parameters = "[]";  // as those of a function
  std::optional<WebSpec> web = {};
  bool is_generator = false;
};

enum class ParameterKind : std::uint8_t { text, integer, flag, bytes };  // bytes as base 64

struct ClassParameter {
  std::string name;
  ParameterKind kind = ParameterKind::text;
  std::optional<JsonValue> fallback;  // none: it has to be given
};

struct ClassSpec {
  std::vector<MethodSpec> methods;  // none: it is a plain function
  std::vector<ClassParameter> parameters;

  bool is_class() const { return !methods.empty(); }
  // Whether no instance can be made without naming any.
  bool needs_parameters() const;
  // The place of the method; nothing if there is none of that name.
  std::optional<std::uint8_t> find(std::string_view method) const;
};

// `methods` and `parameters` are lists, or null where a function has none.
Result<ClassSpec> parse_class_spec(const JsonValue* methods, const JsonValue* parameters,
                                   const std::string& path);
JsonValue methods_json(const ClassSpec& spec);
JsonValue parameters_json(const ClassSpec& spec);

// Whether an instance can be made with these. Those that are as their defaults are taken out.
Result<> check_class_arguments(const ClassSpec& spec, JsonValue& given);

}  // namespace ember

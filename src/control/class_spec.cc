#include "control/class_spec.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "node/frame.h"

namespace ember {
namespace {

constexpr std::size_t kMaxParameters = 64;
constexpr std::size_t kMaxNameLength = 63;
constexpr std::size_t kMaxSignatureBytes = 64u << 10;
constexpr std::size_t kMaxValueBytes = 16u << 10;

constexpr std::pair<ParameterKind, std::string_view> kKinds[] = {{ParameterKind::text, "str"},
                                                                 {ParameterKind::integer, "int"},
                                                                 {ParameterKind::flag, "bool"},
                                                                 {ParameterKind::bytes, "bytes"}};

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

// A name in Python, as far as it matters here: no dot, which parts a method from its class.
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameLength &&
         std::ranges::all_of(
             text, [](unsigned char c) { return c > ' ' && c != '.' && c != '/' && c != 0x7f; });
}

std::string_view name_of(ParameterKind wanted) {
  return std::ranges::find(kKinds, wanted, &std::pair<ParameterKind, std::string_view>::first)
      ->second;
}

// By its characters and its length; the runner reads what it means.
bool is_base64(std::string_view text) {
  const std::size_t end = text.find_last_not_of('=') + 1;
  return text.size() % 4 == 0 && text.size() - end <= 2 &&
         std::ranges::all_of(text.substr(0, end), [](unsigned char c) {
           return (c < 0x80 && std::isalnum(c) != 0) || c == '+' || c == '/';
         });
}

bool fits(ParameterKind kind, const JsonValue& value) {
  const auto* text = value.get_ptr<const std::string*>();
  switch (kind) {
    case ParameterKind::text:
      return text && text->size() <= kMaxValueBytes;
    case ParameterKind::bytes:
      return text && text->size() <= kMaxValueBytes && is_base64(*text);
    case ParameterKind::integer:
      return value.is_number_integer();
    case ParameterKind::flag:
      return value.is_boolean();
  }
  return false;
}

Result<MethodSpec> parse_method(const JsonValue& value, const std::string& path) {
  Fields fields(value, path + ".");
  MethodSpec method;
  method.name = fields.text("name");
  method.is_async = fields.flag_or("is_async", false);
  method.is_generator = fields.flag_or("is_generator", false);
  const JsonValue* parameters = fields.array("parameters");
  const JsonValue* web = fields.any("web");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (!is_name(method.name)) return invalid(path + ".name is not a method's name");
  auto endpoint = parse_web_spec(web, path + ".web");
  if (!endpoint) return std::move(endpoint).error();
  method.web = std::move(endpoint).value();
  if (method.web && method.is_generator) {
    return invalid(path + ".web: a web endpoint is no generator");
  }
  if (parameters) method.parameters = dump_json(*parameters);
  if (method.parameters.size() > kMaxSignatureBytes) {
    return invalid(path + ".parameters has more than 64 KiB");
  }
  return method;
}

Result<ClassParameter> parse_parameter(const JsonValue& value, const std::string& path) {
  Fields fields(value, path + ".");
  ClassParameter parameter;
  parameter.name = fields.text("name");
  const std::string annotation = fields.text("annotation");
  const bool required = fields.flag_or("required", true);
  const JsonValue* fallback = fields.any("default");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (!is_name(parameter.name)) return invalid(path + ".name is not a parameter's name");
  const auto* kind = std::ranges::find(kKinds, std::string_view(annotation),
                                       &std::pair<ParameterKind, std::string_view>::second);
  if (kind == std::end(kKinds)) {
    return invalid(path + ".annotation is not one of str, int, bool and bytes");
  }
  parameter.kind = kind->first;
  if (required) return parameter;
  if (!fallback || !fits(parameter.kind, *fallback)) {
    return invalid(path + ".default is not of the type " + annotation);
  }
  parameter.fallback = *fallback;
  return parameter;
}

// The entries of a list, each with a name of its own.
template <class Entry, class Parse>
Result<std::vector<Entry>> parse_named(const JsonValue* list, std::size_t most,
                                       const std::string& path, Parse parse) {
  std::vector<Entry> entries;
  std::set<std::string> names;
  if (list && list->size() > most) {
    return invalid(path + " has more than " + std::to_string(most) + " entries");
  }
  for (std::size_t i = 0; list && i < list->size(); ++i) {
    auto entry = parse((*list)[i], path + "[" + std::to_string(i) + "]");
    if (!entry) return std::move(entry).error();
    if (!names.insert(entry->name).second) {
      return invalid(path + " has two entries named \"" + entry->name + "\"");
    }
    entries.push_back(std::move(entry).value());
  }
  return entries;
}

std::string takes(const ClassSpec& spec) {
  std::string names;
  for (const ClassParameter& parameter : spec.parameters) {
    names += (names.empty() ? "" : ", ") + parameter.name;
  }
  return names.empty() ? "it takes none" : "it takes " + names;
}

}  // namespace

bool ClassSpec::needs_parameters() const {
  return std::ranges::any_of(parameters,
                             [](const ClassParameter& one) { return !one.fallback.has_value(); });
}

std::optional<std::uint8_t> ClassSpec::find(std::string_view method) const {
  const auto found = std::ranges::find(methods, method, &MethodSpec::name);
  if (found == methods.end()) return std::nullopt;
  return static_cast<std::uint8_t>(found - methods.begin());
}

Result<ClassSpec> parse_class_spec(const JsonValue* methods, const JsonValue* parameters,
                                   const std::string& path) {
  auto named = parse_named<MethodSpec>(methods, kFrameMethods, path + "methods", parse_method);
  if (!named) return std::move(named).error();
  auto given = parse_named<ClassParameter>(parameters, kMaxParameters, path + "class_parameters",
                                           parse_parameter);
  if (!given) return std::move(given).error();
  if (named->empty() && !given->empty()) {
    return invalid(path + "class_parameters are for classes, which have methods");
  }
  return ClassSpec{std::move(named).value(), std::move(given).value()};
}

JsonValue methods_json(const ClassSpec& spec) {
  JsonValue list = JsonValue::array();
  for (const MethodSpec& method : spec.methods) {
    JsonValue entry = {{"name", method.name},
                       {"is_async", method.is_async},
                       {"parameters", JsonValue::parse(method.parameters, nullptr, false)}};
    if (method.web) entry["web"] = to_json(*method.web);
    if (method.is_generator) entry["is_generator"] = true;
    list.push_back(std::move(entry));
  }
  return list;
}

JsonValue parameters_json(const ClassSpec& spec) {
  JsonValue list = JsonValue::array();
  for (const ClassParameter& parameter : spec.parameters) {
    JsonValue entry = {{"name", parameter.name},
                       {"annotation", name_of(parameter.kind)},
                       {"required", !parameter.fallback.has_value()}};
    if (parameter.fallback) entry["default"] = *parameter.fallback;
    list.push_back(std::move(entry));
  }
  return list;
}

Result<> check_class_arguments(const ClassSpec& spec, JsonValue& given) {
  for (const auto& [name, value] : given.items()) {
    const auto found = std::ranges::find(spec.parameters, name, &ClassParameter::name);
    if (found == spec.parameters.end()) {
      return invalid("unknown parameter \"" + name.substr(0, kMaxNameLength) + "\"; " +
                     takes(spec));
    }
    if (!fits(found->kind, value)) {
      return invalid("the parameter \"" + name + "\" must be " + std::string(name_of(found->kind)));
    }
  }
  for (const ClassParameter& parameter : spec.parameters) {
    const auto found = given.find(parameter.name);
    if (!parameter.fallback && found == given.end()) {
      return invalid("the parameter \"" + parameter.name + "\" is missing; " + takes(spec));
    }
    if (parameter.fallback && found != given.end() && *found == *parameter.fallback) {
      given.erase(parameter.name);
    }
  }
  return Ok{};
}

}  // namespace ember

#include "control/variant_spec.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "control/digest.h"

namespace ember {
namespace {

constexpr std::size_t kMaxDifferenceBytes = 64u << 10;

// What an option may be. All else of a function is the same in all its variants: its code, its
// image, and what it may reach.
constexpr std::array<std::string_view, 16> kOptions = {"gpu",
                                                       "vram_bytes",
                                                       "cpu_millicores",
                                                       "memory_bytes",
                                                       "timeout_ms",
                                                       "startup_timeout_ms",
                                                       "min_containers",
                                                       "max_containers",
                                                       "buffer_containers",
                                                       "scaledown_window_ms",
                                                       "max_inputs",
                                                       "target_inputs",
                                                       "queue_limit",
                                                       "max_batch_size",
                                                       "batch_wait_ms",
                                                       "env"};

// Sorted by name, at every depth.
std::string canonical(const JsonValue& value) {
  return nlohmann::json::parse(dump_json(value), nullptr, false).dump();
}

// Never zero, which no id is.
std::uint64_t digest_of(const std::string& text) {
  const Sha256 digest = sha256(text);
  std::uint64_t value = 0;
  std::memcpy(&value, digest.data(), sizeof value);
  return std::max<std::uint64_t>(value, 1);
}

}  // namespace

Result<Difference> parse_difference(std::string_view text, const FunctionSpec& spec) {
  auto document = parse_json(text, "the request", kMaxDifferenceBytes);
  if (!document) return std::move(document).error();
  Fields fields(*document, "");
  const JsonValue* parameters = fields.object("parameters");
  const JsonValue* options = fields.object("options");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  JsonValue given = parameters ? *parameters : JsonValue::object();
  if (auto fit = check_class_arguments(spec.of_class, given); !fit) {
    return std::move(fit).error().within(spec.name);
  }
  Difference difference;
  difference.parameters = canonical(given);
  if (options) difference.options = canonical(*options);
  if (auto fits = spec_with(spec, difference.options); !fits) return std::move(fits).error();
  return difference;
}

Result<FunctionSpec> spec_with(const FunctionSpec& spec, const std::string& options) {
  auto given = parse_json(options, "options", kMaxDifferenceBytes);
  if (!given) return std::move(given).error();
  JsonValue merged = to_json(spec);
  // Aiming at what fits into a container is the default of a limit that is given anew.
  if (given->contains("max_inputs")) merged.erase("target_inputs");
  for (const auto& [name, value] : given->items()) {
    if (std::ranges::find(kOptions, std::string_view(name)) == kOptions.end()) {
      return {ErrorCode::invalid_argument,
              "options." + name.substr(0, 64) + " cannot differ between variants of a function"};
    }
    merged[name] = value;
  }
  auto changed = parse_function_spec(merged, "options.");
  if (changed && changed->settings.batching.is_on() != spec.settings.batching.is_on()) {
    return {ErrorCode::invalid_argument,
            "options.max_batch_size: whether a function takes batches is in its code; " +
                spec.name + (spec.settings.batching.is_on() ? " does" : " does not")};
  }
  return changed;
}

VariantId variant_id(AppId app, std::uint32_t version, std::string_view function,
                     const Difference& difference) {
  return {digest_of(dump_json(JsonValue::array(
      {app.text(), version, function, difference.parameters, difference.options})))};
}

FunctionId variant_line(FunctionId function, const Difference& difference) {
  return {digest_of(
      dump_json(JsonValue::array({function.text(), difference.parameters, difference.options})))};
}

}  // namespace ember

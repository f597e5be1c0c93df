// How a variant differs from its function, as it is asked for, and what follows from that.
#pragma once

#include <string>
#include <string_view>

#include "control/function_spec.h"
#include "model/variant.h"
#include "store/store.h"

namespace ember {

// Canonical: what means the same is the same text, and what is as deployed is not there.
struct Difference {
  std::string parameters = "{}";  // of the class, JSON by name
  std::string options = "{}";     // fields of the function's spec

  bool none() const { return parameters == "{}" && options == "{}"; }
};

// Of {"parameters": {...}, "options": {...}}, checked against the function.
Result<Difference> parse_difference(std::string_view text, const FunctionSpec& spec);

// The function's spec with these options in the place of its own.
Result<FunctionSpec> spec_with(const FunctionSpec& spec, const std::string& options);

// The same for the same difference from the same version, whenever and however often it is asked.
VariantId variant_id(AppId app, std::uint32_t version, std::string_view function,
                     const Difference& difference);
// The same over all versions.
FunctionId variant_line(FunctionId function, const Difference& difference);

}  // namespace ember

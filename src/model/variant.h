// A variant of a deployed function: the same code with parameters of its class or options of its
// own, in a pool of its own.
#pragma once

#include "base/id.h"

namespace ember {

struct VariantIdTag {
  static constexpr std::string_view kPrefix = "va";
};
using VariantId = Id<VariantIdTag>;  // made from what it is a variant of, and how it differs

}  // namespace ember

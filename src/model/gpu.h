// GPU types by their canonical names, and what a function asks for.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ember {

struct GpuType {
  std::string_view name;  // canonical: "L4", "A100-80GB", "H100"
  std::int64_t vram_bytes;
};

// All known types, by name. Sizes: NVIDIA data sheets, decimal marketing gigabytes as GiB.
std::span<const GpuType> gpu_types();
// The known type of that canonical name, compared without case; null if there is none.
const GpuType* find_gpu_type(std::string_view name);

// One accepted way to meet a demand: so many devices of one type.
struct GpuChoice {
  std::string type;  // canonical name
  std::uint32_t count = 1;
  friend bool operator==(const GpuChoice&, const GpuChoice&) = default;
};

// What a container needs, in order of preference. Empty: no GPU. The struct has room for shares of
// a device; today a container takes whole devices.
struct GpuDemand {
  std::vector<GpuChoice> choices;

  bool empty() const { return choices.empty(); }
  std::string text() const;  // "H100:2, A100-80GB"
  friend bool operator==(const GpuDemand&, const GpuDemand&) = default;
};

// Reads "L4", "H100:2"; refuses unknown types and counts outside 1 to 8, naming what is known.
Result<GpuChoice> parse_gpu_choice(std::string_view text);

}  // namespace ember

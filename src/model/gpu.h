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

// What a container needs, in order of preference. Empty: no GPU. Whole devices, or a share of one:
// containers of one workspace may hold shares of a device as long as these fit its memory together.
struct GpuDemand {
  std::vector<GpuChoice> choices;
  std::int64_t share_bytes = 0;       // of one device's memory; zero: whole devices
  std::int64_t least_vram_bytes = 0;  // that each device must have, where no type was named

  bool empty() const { return choices.empty() && least_vram_bytes == 0; }
  bool is_share() const { return share_bytes > 0; }
  // "H100:2, A100-80GB", "6 GB of L4", "any with 24 GB"
  std::string text() const;
  friend bool operator==(const GpuDemand&, const GpuDemand&) = default;
};

// Reads "L4", "H100:2"; refuses unknown types and counts outside 1 to 8, naming what is known.
Result<GpuChoice> parse_gpu_choice(std::string_view text);

// Whether devices of the demand's types can be what it asks for; the message says which types there
// are and what they have. What a device really has only its node knows.
Result<> check_vram(const GpuDemand& demand);

// "6 GB", "7.1 GB": decimal gigabytes, as people ask for them; "512 MB" below one.
std::string vram_text(std::int64_t bytes);

}  // namespace ember

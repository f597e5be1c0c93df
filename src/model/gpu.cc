#include "model/gpu.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace ember {
namespace {

constexpr std::int64_t kGiB = 1ll << 30;
constexpr std::uint32_t kMaxGpusPerContainer = 8;

constexpr std::array kTypes{
    GpuType{"A10G", 24 * kGiB},      GpuType{"A100-40GB", 40 * kGiB},
    GpuType{"A100-80GB", 80 * kGiB}, GpuType{"A40", 48 * kGiB},
    GpuType{"B200", 180 * kGiB},     GpuType{"H100", 80 * kGiB},
    GpuType{"H100-PCIe", 80 * kGiB}, GpuType{"H200", 141 * kGiB},
    GpuType{"L4", 24 * kGiB},        GpuType{"L40S", 48 * kGiB},
    GpuType{"MI300X", 192 * kGiB},   GpuType{"RTX-3090", 24 * kGiB},
    GpuType{"RTX-4090", 24 * kGiB},  GpuType{"RTX-5090", 32 * kGiB},
    GpuType{"RTX-A6000", 48 * kGiB}, GpuType{"RTX-PRO-6000", 96 * kGiB},
    GpuType{"T4", 16 * kGiB},        GpuType{"V100", 16 * kGiB},
};

bool equal_without_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

std::int64_t largest_vram() {
  return std::ranges::max_element(kTypes, {}, &GpuType::vram_bytes)->vram_bytes;
}

// "A10G 24 GiB, A100-40GB 40 GiB, ..."
std::string known_sizes() {
  std::string sizes;
  for (const GpuType& type : kTypes) {
    if (!sizes.empty()) sizes += ", ";
    sizes += std::string(type.name) + " " + std::to_string(type.vram_bytes / kGiB) + " GiB";
  }
  return sizes;
}

std::string known_names() {
  std::string names;
  for (const GpuType& type : kTypes) {
    if (!names.empty()) names += ", ";
    names += type.name;
  }
  return names;
}

}  // namespace

std::span<const GpuType> gpu_types() { return kTypes; }

const GpuType* find_gpu_type(std::string_view name) {
  for (const GpuType& type : kTypes) {
    if (equal_without_case(type.name, name)) return &type;
  }
  return nullptr;
}

std::string GpuDemand::text() const {
  if (least_vram_bytes > 0) return "any with " + vram_text(least_vram_bytes);
  std::string result;
  for (const GpuChoice& choice : choices) {
    if (!result.empty()) result += ", ";
    if (is_share()) result += vram_text(share_bytes) + " of ";
    result += choice.type;
    if (choice.count != 1) result += ":" + std::to_string(choice.count);
  }
  return result;
}

Result<GpuChoice> parse_gpu_choice(std::string_view text) {
  const auto colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const GpuType* type = find_gpu_type(name);
  if (!type) {
    return {ErrorCode::invalid_argument,
            "unknown GPU type \"" + std::string(name) + "\"; known types are " + known_names()};
  }
  std::uint32_t count = 1;
  if (colon != std::string_view::npos) {
    const std::string_view digits = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    if (error != std::errc{} || end != digits.data() + digits.size() || count < 1 ||
        count > kMaxGpusPerContainer) {
      return {ErrorCode::invalid_argument,
              "GPU count in \"" + std::string(text) + "\" must be a whole number from 1 to 8"};
    }
  }
  return GpuChoice{std::string(type->name), count};
}

Result<> check_vram(const GpuDemand& demand) {
  const auto invalid = [](std::string why) {
    return Error{ErrorCode::invalid_argument, std::move(why)};
  };
  if (demand.share_bytes < 0 || demand.least_vram_bytes < 0) {
    return invalid("vram must be greater than zero");
  }
  if (demand.least_vram_bytes > largest_vram()) {
    return invalid("no GPU type has " + vram_text(demand.least_vram_bytes) +
                   " of memory; those that there are: " + known_sizes());
  }
  for (const GpuChoice& choice : demand.choices) {
    if (!demand.is_share()) break;
    if (choice.count != 1) {
      return invalid("vram asks for a share of one device, and " + choice.type + ":" +
                     std::to_string(choice.count) + " for " + std::to_string(choice.count) +
                     " devices; leave one of them out");
    }
    const GpuType* type = find_gpu_type(choice.type);
    if (type && demand.share_bytes > type->vram_bytes) {
      return invalid("a share of " + vram_text(demand.share_bytes) + " is more than one " +
                     choice.type + " has; types and their memory: " + known_sizes());
    }
  }
  return Ok{};
}

std::string vram_text(std::int64_t bytes) {
  constexpr std::int64_t kMB = 1'000'000;
  if (bytes < 1000 * kMB) return std::to_string(bytes / kMB) + " MB";
  const std::int64_t tenths = (bytes + 50 * kMB) / (100 * kMB);
  const std::string whole = std::to_string(tenths / 10);
  return (tenths % 10 == 0 ? whole : whole + "." + std::to_string(tenths % 10)) + " GB";
}

}  // namespace ember

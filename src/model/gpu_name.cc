#include "model/gpu_name.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "model/gpu.h"

namespace ember {
namespace {

constexpr std::int64_t kGiB = 1ll << 30;
constexpr std::size_t kMaxTypeLength = 48;

// Letters and digits; all else parts words.
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words(1);
  for (const unsigned char c : name) {
    if (std::isalnum(c)) {
      words.back() += static_cast<char>(c);
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

// Says who made it, for which market or in which form: not which chip and memory.
bool is_decoration(std::string_view word) {
  constexpr std::string_view kDecorations[] = {"NVIDIA", "Tesla",    "GeForce",  "Quadro", "AMD",
                                               "Radeon", "Instinct", "Graphics", "Device"};
  return std::ranges::find(kDecorations, word) != std::end(kDecorations);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : "-") + word;
  return text.substr(0, kMaxTypeLength);
}

bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

// Products whose name is not simply that of their type.
std::string special_case(const std::vector<std::string>& words, std::int64_t memory_bytes) {
  if (words.empty()) return "";
  const std::string& chip = words.front();
  if (chip == "A100") return memory_bytes > 60 * kGiB ? "A100-80GB" : "A100-40GB";
  if (chip == "H100") {
    // The NVL is a PCIe card too, with more memory than the type promises.
    return has(words, "PCIe") || has(words, "NVL") ? "H100-PCIe" : "H100";
  }
  // Sold with 16 and 32 GB; the type is the smaller.
  if (chip == "V100") return memory_bytes < 20 * kGiB ? "V100" : "V100-32GB";
  const bool blackwell_workstation = has(words, "PRO") && has(words, "6000");
  if (chip == "RTX" && blackwell_workstation) return "RTX-PRO-6000";
  return "";
}

// The longest run of words from the first on that is a known type: "H200 NVL" is an H200,
// "RTX 4090 D" is none, since a letter after a number makes another chip.
std::string known_prefix(const std::vector<std::string>& words) {
  constexpr std::string_view kForms[] = {"SXM2", "SXM3", "SXM4", "SXM5",  "SXM6", "SXM",   "PCIE",
                                         "PCIe", "NVL",  "HBM2", "HBM2e", "HBM3", "HBM3e", "OAM"};
  for (std::size_t count = words.size(); count > 0; --count) {
    const GpuType* type = find_gpu_type(joined({words.begin(), words.begin() + count}));
    if (!type) continue;
    const bool same_chip = std::all_of(words.begin() + count, words.end(), [&](const auto& word) {
      return std::ranges::find(kForms, word) != std::end(kForms) || word.ends_with("GB");
    });
    if (same_chip) return std::string(type->name);
  }
  return "";
}

}  // namespace

std::string gpu_type_of(std::string_view product_name, std::int64_t memory_bytes) {
  std::vector<std::string> words = words_of(product_name);
  std::erase_if(words, is_decoration);
  if (std::string type = special_case(words, memory_bytes); !type.empty()) return type;
  if (std::string type = known_prefix(words); !type.empty()) return type;
  return words.empty() ? "GPU" : joined(words);
}

}  // namespace ember

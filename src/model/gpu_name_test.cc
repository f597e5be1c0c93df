#include "model/gpu_name.h"

#include <gtest/gtest.h>

#include "model/gpu.h"

namespace ember {
namespace {

constexpr std::int64_t kGiB = 1ll << 30;

struct Case {
  const char* name;
  std::int64_t memory_gib;
  const char* type;
};

TEST(GpuName, NamesTheCanonicalTypeOfAProduct) {
  const Case cases[] = {{"Tesla T4", 15, "T4"},
                        {"NVIDIA L4", 23, "L4"},
                        {"NVIDIA A10G", 22, "A10G"},
                        {"NVIDIA L40S", 45, "L40S"},
                        {"NVIDIA A40", 45, "A40"},
                        {"NVIDIA A100-SXM4-40GB", 40, "A100-40GB"},
                        {"A100-SXM4-40GB", 40, "A100-40GB"},
                        {"NVIDIA A100-PCIE-40GB", 40, "A100-40GB"},
                        {"NVIDIA A100-SXM4-80GB", 80, "A100-80GB"},
                        {"NVIDIA A100 80GB PCIe", 80, "A100-80GB"},
                        {"NVIDIA H100 80GB HBM3", 80, "H100"},
                        {"NVIDIA H100 PCIe", 80, "H100-PCIe"},
                        {"NVIDIA H100 NVL", 94, "H100-PCIe"},
                        {"NVIDIA H200", 140, "H200"},
                        {"NVIDIA H200 NVL", 140, "H200"},
                        {"NVIDIA B200", 179, "B200"},
                        {"Tesla V100-SXM2-16GB", 16, "V100"},
                        {"NVIDIA GeForce RTX 3090", 24, "RTX-3090"},
                        {"NVIDIA GeForce RTX 4090", 24, "RTX-4090"},
                        {"NVIDIA GeForce RTX 5090", 32, "RTX-5090"},
                        {"NVIDIA RTX A6000", 48, "RTX-A6000"},
                        {"NVIDIA RTX PRO 6000 Blackwell Server Edition", 95, "RTX-PRO-6000"}};
  for (const auto& [name, memory_gib, type] : cases) {
    EXPECT_EQ(gpu_type_of(name, memory_gib * kGiB), type) << name;
    EXPECT_NE(find_gpu_type(type), nullptr) << type;
  }
}

TEST(GpuName, MakesATypeOfItsOwnOfAProductThatItDoesNotKnow) {
  const Case cases[] = {{"NVIDIA GeForce GTX 1080 Ti", 11, "GTX-1080-Ti"},
                        {"NVIDIA GeForce RTX 3090 Ti", 24, "RTX-3090-Ti"},
                        {"NVIDIA GeForce RTX 4090 D", 24, "RTX-4090-D"},
                        {"NVIDIA GeForce RTX 4090 Laptop GPU", 16, "RTX-4090-Laptop-GPU"},
                        {"NVIDIA A10", 24, "A10"},
                        {"NVIDIA L40", 48, "L40"},
                        {"Tesla V100-SXM2-32GB", 32, "V100-32GB"},
                        {"NVIDIA GH200 480GB", 96, "GH200-480GB"},
                        {"NVIDIA Graphics Device", 8, "GPU"},
                        {"\"; rm -rf /", 8, "rm-rf"},
                        {"", 0, "GPU"}};
  for (const auto& [name, memory_gib, type] : cases) {
    EXPECT_EQ(gpu_type_of(name, memory_gib * kGiB), type) << name;
    EXPECT_EQ(find_gpu_type(type), nullptr) << type;
  }
}

}  // namespace
}  // namespace ember

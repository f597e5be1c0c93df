// From a vendor's product name to our canonical GPU type.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ember {

// "NVIDIA A100-SXM4-40GB" is an "A100-40GB". A product that no known type names becomes a type of
// its own, made from the name: "NVIDIA GeForce GTX 1080 Ti" is a "GTX-1080-Ti". Never empty.
std::string gpu_type_of(std::string_view product_name, std::int64_t memory_bytes);

}  // namespace ember

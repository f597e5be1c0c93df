// How the bytes of arguments or of a value are to be read: what callers, frames and runners agree
// on. Nothing between them reads the bytes.
#pragma once

#include <cstdint>

namespace ember {

enum class BodyFormat : std::uint8_t { none = 0, json = 1, pickle = 2, bytes = 3 };

}  // namespace ember

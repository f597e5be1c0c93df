// libFuzzer's entry into one target, EMBER_FUZZ_TARGET.
#include "targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ember::fuzz::EMBER_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}

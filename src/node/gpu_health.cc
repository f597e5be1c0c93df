#include "node/gpu_health.h"

#include <algorithm>

namespace ember {
namespace {

// NVIDIA's Xid catalogue answers these by restarting the application, or by nothing: a program's
// own faults, their clean-up, and memory errors that the device has dealt with. Any other Xid, also
// one that is newer than this list, asks for a reset or a person. A program can cause these at
// will, so they must not take the device from everybody else.
constexpr std::uint64_t kBlameless[] = {
    8,    // stopped processing
    11,   // invalid or corrupted push buffer stream
    13,   // graphics engine exception: an illegal instruction or address
    31,   // memory page fault
    32,   // invalid or corrupted push buffer stream
    41,   // copy engine exception
    43,   // stopped processing after a fault of the program
    45,   // clean-up after an earlier fault, or the program was killed
    63,   // a row of memory has been remapped
    68,   // video processor exception
    69,   // graphics engine class error
    92,   // many single-bit errors, all corrected
    94,   // a memory error that was contained: its program ended
    109,  // context switch time-out
};

std::optional<std::string> xid_reason(std::uint64_t xid) {
  if (std::ranges::find(kBlameless, xid) != std::end(kBlameless)) return std::nullopt;
  const std::string number = "Xid " + std::to_string(xid);
  switch (xid) {
    case 48:
      return number + ": an uncorrectable memory error";
    case 74:
      return number + ": an NVLink error";
    case 79:
      return number + ": it has fallen off the bus";
    case 95:
      return number + ": a memory error that was not contained";
    case 119:
    case 120:
      return number + ": its system processor does not answer";
    default:
      return number;
  }
}

}  // namespace

std::optional<std::string> cordon_reason(const GpuEvent& event) {
  switch (event.kind) {
    case GpuEvent::Kind::xid:
      return xid_reason(event.xid);
    case GpuEvent::Kind::uncorrectable_ecc:
      return "an uncorrectable memory error (ECC)";
    case GpuEvent::Kind::poison:
      return "it has used poisoned memory";
    case GpuEvent::Kind::unavailable:
      return "its driver says that it is unavailable";
  }
  return std::nullopt;
}

}  // namespace ember

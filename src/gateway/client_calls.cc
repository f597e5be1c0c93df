#include "gateway/client_calls.h"

#include <algorithm>
#include <string>

#include "base/assert.h"

namespace ember {
namespace {

constexpr std::size_t kShare = 4;

// Whether `more` fits into the caller's share of what is free.
bool fits(std::size_t own, std::size_t more, std::size_t held, std::size_t limit) {
  if (more > limit - std::min(limit, held)) return false;
  return own + more <= kShare * (limit - held - more);
}

}  // namespace

std::optional<CallFailure> ClientCalls::refusal(KeyId caller, std::size_t bytes) const {
  const Slot slot = by_caller_.find(caller);
  const Holder own = slot == kNoSlot ? Holder{} : holders_[slot];
  if (!fits(own.calls, 1, all_.calls, limits_.calls)) {
    return CallFailure{
        {ErrorCode::resource_exhausted,
         "the server holds " + std::to_string(all_.calls) + " calls, " + std::to_string(own.calls) +
             " of them of this key, of the " + std::to_string(limits_.calls) +
             " that its connections allow; try again later, with fewer calls at once"},
        {},
        0,
        {"client_calls", static_cast<std::int64_t>(limits_.calls)}};
  }
  if (!fits(own.bytes, bytes, all_.bytes, limits_.bytes)) {
    return CallFailure{{ErrorCode::resource_exhausted,
                        "the server holds " + std::to_string(all_.bytes) +
                            " bytes of arguments of calls, " + std::to_string(own.bytes) +
                            " of them of this key, of at most " + std::to_string(limits_.bytes) +
                            "; try again later, or put what is large into fewer calls at once"},
                       {},
                       0,
                       {"client_call_bytes", static_cast<std::int64_t>(limits_.bytes)}};
  }
  return std::nullopt;
}

void ClientCalls::add(KeyId caller, std::size_t bytes) {
  Slot slot = by_caller_.find(caller);
  if (slot == kNoSlot) {
    slot = holders_.add();
    by_caller_.insert(caller, slot);
  }
  for (Holder* holder : {&holders_[slot], &all_}) {
    ++holder->calls;
    holder->bytes += bytes;
  }
}

void ClientCalls::remove(KeyId caller, std::size_t bytes) {
  const Slot slot = by_caller_.find(caller);
  EMBER_ASSERT(slot != kNoSlot);
  for (Holder* holder : {&holders_[slot], &all_}) {
    --holder->calls;
    holder->bytes -= bytes;
  }
  if (holders_[slot].calls > 0) return;
  by_caller_.erase(caller);
  holders_.remove(slot);
}

}  // namespace ember

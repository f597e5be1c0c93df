#include "control/call_table.h"

#include <utility>

namespace ember {
namespace {

constexpr std::size_t kFinishedCalls = 10'000;

}  // namespace

std::string_view call_state_name(CallState state) {
  switch (state) {
    case CallState::waiting:
      return "waiting";
    case CallState::running:
      return "running";
    case CallState::succeeded:
      return "succeeded";
    case CallState::failed:
      return "failed";
    case CallState::timed_out:
      return "timed_out";
    case CallState::cancelled:
      return "cancelled";
  }
  return "";
}

CallState ended_state(ErrorCode code) {
  if (code == ErrorCode::timed_out) return CallState::timed_out;
  return code == ErrorCode::cancelled ? CallState::cancelled : CallState::failed;
}

Call& CallTable::add(CallId id, CallId parent) {
  const Slot slot = calls_.add();
  index_.insert(id, slot);
  by_arrival_.push_back(calls_, slot);
  Call& call = calls_[slot];
  call.id = id;
  call.parent = parent;
  if (parent) children_.emplace(parent, id);
  return call;
}

Call* CallTable::find(CallId id) {
  const Slot slot = index_.find(id);
  return slot == kNoSlot ? nullptr : &calls_[slot];
}

const Call* CallTable::find(CallId id) const { return const_cast<CallTable*>(this)->find(id); }

void CallTable::remove(CallId id) {
  const Slot slot = index_.find(id);
  EMBER_ASSERT(slot != kNoSlot);
  if (const CallId parent = calls_[slot].parent) children_.erase({parent, id});
  by_arrival_.remove(calls_, slot);
  index_.erase(id);
  calls_.remove(slot);
}

std::vector<CallId> CallTable::children_of(CallId parent) const {
  std::vector<CallId> children;
  for (auto one = children_.lower_bound({parent, CallId{}});
       one != children_.end() && one->first == parent; ++one) {
    children.push_back(one->second);
  }
  return children;
}

std::vector<const Call*> CallTable::live_calls() const {
  std::vector<const Call*> calls;
  calls.reserve(live());
  for (Slot slot = by_arrival_.back(); slot != kNoSlot; slot = by_arrival_.previous(calls_, slot)) {
    calls.push_back(&calls_[slot]);
  }
  return calls;
}

void CallTable::finish(FinishedCall call) {
  if (ring_.size() < kFinishedCalls) {
    ring_.push_back(std::move(call));
    return;
  }
  ring_[ring_next_] = std::move(call);
  ring_next_ = (ring_next_ + 1) % kFinishedCalls;
}

// Asked for by people: a walk over the ring is fast enough, and warm calls pay no second index. The
// newest first: of a call that has ended just now it is one step.
const FinishedCall* CallTable::find_finished(CallId id) const {
  for (std::size_t back = 1; back <= ring_.size(); ++back) {
    const FinishedCall& call = ring_[(ring_next_ + ring_.size() - back) % ring_.size()];
    if (call.id == id) return &call;
  }
  return nullptr;
}

Error CallTable::no_such_call(CallId id) {
  return {ErrorCode::not_found, "the call " + id.text() + " is not known; only the last " +
                                    std::to_string(kFinishedCalls) + " are kept"};
}

std::vector<const FinishedCall*> CallTable::finished_calls(std::string_view app,
                                                           std::size_t limit) const {
  std::vector<const FinishedCall*> calls;
  for (std::size_t back = 1; back <= ring_.size() && calls.size() < limit; ++back) {
    const FinishedCall& call = ring_[(ring_next_ + ring_.size() - back) % ring_.size()];
    if (app.empty() || call.function->app_name == app) calls.push_back(&call);
  }
  return calls;
}

}  // namespace ember

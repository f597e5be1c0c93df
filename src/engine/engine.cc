#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "engine/steps.h"
#include "scheduler/filter.h"

namespace ember {

Engine::Engine(EngineOptions options) : state_(std::make_unique<State>(options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

void Engine::handle(const Event& event, Time now) {
  state_->now = std::max(state_->now, now);
  std::visit([&](const auto& one) { handle_event(*state_, one); }, event);
}

void Engine::take_actions(Actions& actions) {
  actions.clear();
  actions.swap(state_->actions);
}

Time Engine::next_deadline() const {
  const auto& pools = state_->pool_deadlines;
  const auto& containers = state_->container_deadlines;
  const auto& inputs = state_->input_deadlines;
  return std::min({inputs.empty() ? Time::never() : inputs.top().key.at,
                   pools.empty() ? Time::never() : pools.top().key.at,
                   containers.empty() ? Time::never() : containers.top().key.at,
                   state_->lease_due});
}

Reason Engine::refusal(PoolId pool, KeyId caller, std::uint32_t on_their_way) const {
  const Slot slot = state_->pool_index.find(pool);
  if (slot == kNoSlot) return {};
  return refusal_of(*state_, state_->pools[slot], caller, on_their_way);
}

bool Engine::could_ever_place(const Resources& resources) const {
  return ember::could_ever_place(state_->fleet, resources);
}

const State& Engine::state() const { return *state_; }

}  // namespace ember

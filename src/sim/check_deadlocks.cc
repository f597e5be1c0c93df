// A function whose containers all wait for calls of its own, and may be no more, does not stay so:
// some of what they wait for fails, and nothing fails for a deadlock that nobody waits for.
#include <map>
#include <optional>

#include "sim/checker.h"

namespace ember {
namespace {

constexpr Duration kLookEvery = Duration::milliseconds(100);
constexpr Duration kPatience = Duration::milliseconds(1'300);  // timers may be late

class CheckDeadlocks : public Checker {
 public:
  void on_action(const Step& step, const Action& action) override {
    const auto* failure = std::get_if<FailInput>(&action);
    if (!failure || failure->reason.code != ReasonCode::deadlocked) return;
    const InputFact* input = step.facts.input(failure->input);
    if (input && !input->container && is_awaited(step.facts, *input)) return;
    step.findings.add("only what is waited for fails for a deadlock", failure->input.text());
  }

  void after_step(const Step& step, const Engine&) override {
    if (step.now < next_look_) return;
    next_look_ = step.now + kLookEvery;
    std::map<FunctionId, Stuck> stuck;
    for (const auto& [function, children] : children_waiting(step.facts)) {
      const auto signature = signature_of(step.facts, function, children);
      if (!signature) continue;
      const auto before = stuck_.find(function);
      const bool same = before != stuck_.end() && before->second.signature == *signature;
      stuck[function] = {*signature, same ? before->second.since : step.now};
      if (step.now - stuck[function].since <= kPatience) continue;
      step.findings.add("a deadlock is broken within a second", function.text());
    }
    stuck_ = std::move(stuck);
  }

  void on_restart() override { stuck_.clear(); }

 private:
  struct Stuck {
    std::uint64_t signature = 0;  // of what holds all slots, and of what waits
    Time since;
  };
  // By parent: the children of a function's own inputs that wait for it.
  using Children = std::map<InputId, std::uint64_t>;

  // Whether its parent waits for it yet, or the batch that this ran in.
  static bool is_awaited(const Facts& facts, const InputFact& input) {
    const ContainerFact* container = facts.container(input.parent_container);
    if (!input.parent || !container) return false;
    const auto slot = container->slots.find(input.parent);
    if (slot == container->slots.end() || slot->second.attempt != input.parent_attempt)
      return false;
    return slot->second.batch.first ? container->runs(slot->second.batch) : !slot->second.ending;
  }

  static std::map<FunctionId, Children> children_waiting(const Facts& facts) {
    std::map<FunctionId, Children> waiting;
    for (const auto& [id, pool] : facts.pools()) {
      for (const auto& [order, input_id] : pool.waiting) {
        const InputFact& input = *facts.input(input_id);
        if (is_awaited(facts, input)) {
          waiting[pool.spec.function][input.parent] += input_id.value * 31;
        }
      }
    }
    return waiting;
  }

  // Nothing where a container is about to serve one of them, or may be started.
  static std::optional<std::uint64_t> signature_of(const Facts& facts, FunctionId function,
                                                   const Children& children) {
    if (facts.containers_of(function) < facts.max_containers(function)) return std::nullopt;
    std::uint64_t signature = 0;
    for (const auto& [id, container] : facts.containers()) {
      if (facts.pool(container.pool)->spec.function != function) continue;
      if (!container.ready || container.stopping || container.slots.empty()) return std::nullopt;
      for (const auto& [input, taken] : container.slots) {
        const auto waits = children.find(taken.batch.first ? taken.batch.first : input);
        const bool runs = taken.batch.first ? container.runs(taken.batch) : !taken.ending;
        if (!runs || waits == children.end()) return std::nullopt;
        signature = signature * 1'000'003 + input.value + taken.attempt + waits->second;
      }
    }
    return signature;
  }

  Time next_look_;
  std::map<FunctionId, Stuck> stuck_;
};

}  // namespace

std::unique_ptr<Checker> check_deadlocks() { return std::make_unique<CheckDeadlocks>(); }

}  // namespace ember

#include "control/nested_calls.h"

#include <algorithm>
#include <cstring>

#include "control/error_body.h"

namespace ember {
namespace {

constexpr std::size_t kMaxNestedPerServer = 100'000;
constexpr std::int64_t kMostTtlMs = 7ll * 24 * 3600 * 1000;
constexpr std::int64_t kMostWaitMs = 60'000;

struct CallHead {
  std::string app, function;
  std::string call;     // that makes it, as the container says; "" for none
  bool stream = false;  // of a generator function
  std::string variant;
  std::string mode;  // "async": answered with the call's id once it is on disk
  std::string idempotency_key;
  std::int64_t ttl_ms = 0;
  std::int64_t priority = 0;
  std::string webhook;
  std::string result_of;  // instead of a call: the outcome of this one
  std::int64_t wait_ms = 0;
  bool to_the_end = false;  // nothing but its end lets go of who asks for it
};

Priority nearest_priority(std::int64_t wanted) {
  return {static_cast<std::int8_t>(std::clamp(wanted, kLowestPriority, kHighestPriority))};
}

// u16 length, JSON of that length; the arguments follow.
Result<CallHead> take_head(std::string& body) {
  std::uint16_t length = 0;
  if (body.size() >= sizeof length) std::memcpy(&length, body.data(), sizeof length);
  if (body.size() < sizeof length + length) {
    return {ErrorCode::invalid_argument, "the call's head is cut off"};
  }
  auto value = parse_json(std::string_view(body).substr(sizeof length, length), "the call", length);
  if (!value) return std::move(value).error();
  Fields fields(*value, "");
  CallHead head{.app = fields.text_or("app", ""),
                .function = fields.text_or("function", ""),
                .call = fields.text_or("call", ""),
                .stream = fields.flag_or("stream", false),
                .variant = fields.text_or("variant", ""),
                .mode = fields.text_or("mode", ""),
                .idempotency_key = fields.text_or("idempotency_key", ""),
                .ttl_ms = fields.integer_or("ttl_ms", 0),
                .priority = fields.integer_or("priority", 0),
                .webhook = fields.text_or("webhook", ""),
                .result_of = fields.text_or("result_of", ""),
                .wait_ms = fields.integer_or("wait_ms", 0),
                .to_the_end = fields.flag_or("to_the_end", false)};
  if (auto read = fields.finish(); !read) return std::move(read).error();
  body.erase(0, sizeof length + length);
  return head;
}

}  // namespace

struct NestedCalls::Question {
  std::string_view call;
  std::int64_t wait_ms = 0;
  CallId asker;  // that will not go on before it has ended; zero: one that may
};

class NestedCalls::Waiter final : public CallWaiter {
 public:
  Waiter(NestedCalls& owner, Key key) : owner_(owner), key_(key) {}

  void on_item(Body item) override {
    ++open.items;
    open.bytes += static_cast<std::uint32_t>(item.bytes.size());
    owner_.reply(key_, FrameType::call_chunk, std::move(item));
  }
  void on_result(Body value, const CallReport&) override {
    const auto self = std::move(owner_.waiters_.extract(key_).mapped());
    owner_.reply(key_, FrameType::call_result, std::move(value));
  }
  void on_failure(CallFailure failure, const CallReport&) override {
    const auto self = std::move(owner_.waiters_.extract(key_).mapped());
    owner_.refuse(key_, std::move(failure));
  }

  CallId call;
  StreamCredit open;  // of items that the runner has not told of

 private:
  NestedCalls& owner_;
  const Key key_;
};

NestedCalls::NestedCalls(Calls& calls, AsyncCalls& async, Containers& containers)
    : calls_(calls), async_(async), containers_(containers) {}

NestedCalls::~NestedCalls() = default;

void NestedCalls::start(ContainerId container, const FrameHeader& header, std::string& body) {
  const Key key{container, header.stream};
  auto head = take_head(body);
  if (!head) return refuse(key, {std::move(head).error(), {}});
  if (waiters_.contains(key)) {
    return refuse(key, {{ErrorCode::invalid_argument, "another call has that number"}, {}});
  }
  if (waiters_.size() + asked_ >= kMaxNestedPerServer) {
    return refuse(key, {{ErrorCode::resource_exhausted,
                         "containers wait for " + std::to_string(kMaxNestedPerServer) +
                             " calls of theirs already; try again later"},
                        {},
                        0,
                        {"nested_calls", kMaxNestedPerServer}});
  }
  const auto [parent, caller] = maker(container, head->call);
  if (!head->result_of.empty()) {
    const CallId asker = head->to_the_end ? parent : CallId{};
    return tell_outcome(key, {head->result_of, head->wait_ms, asker});
  }
  if (head->mode == "async") {
    return spawn(key, {.app = head->app,
                       .function = head->function,
                       .variant = head->variant,
                       .arguments = {body_format(header), std::move(body)},
                       .caller = caller,
                       .idempotency_key = head->idempotency_key,
                       .time_to_live = Duration::milliseconds(
                           std::clamp<std::int64_t>(head->ttl_ms, 0, kMostTtlMs)),
                       .priority = nearest_priority(head->priority),
                       .webhook = head->webhook,
                       .parent = parent});
  }
  auto waiter = std::make_unique<Waiter>(*this, key);
  CallRequest request{
      head->app, head->function, {body_format(header), std::move(body)},
      caller,    head->variant,  head->stream ? CallWants::items : CallWants::result};
  auto started =
      calls_.start(std::move(request), waiter.get(), Origin::running_input, {.parent = parent});
  if (!started) return refuse(key, started.refusal());
  waiter->call = *started;
  waiters_[key] = std::move(waiter);
}

void NestedCalls::spawn(const Key& key, AsyncRequest request) {
  ++asked_;
  async_.spawn(std::move(request), [this, key](const StartedCall& call, Acceptance acceptance) {
    --asked_;
    if (!call) return refuse(key, call.refusal());
    const bool repeated = acceptance == Acceptance::repeated;
    reply(key, FrameType::call_result,
          {BodyFormat::json, dump_json({{"call_id", (*call).text()}, {"repeated", repeated}})});
  });
}

void NestedCalls::tell_outcome(const Key& key, const Question& question) {
  const auto call = CallId::parse(question.call);
  if (!call) return refuse(key, {{ErrorCode::not_found, "that is no call's id"}, {}});
  const Duration patience =
      Duration::milliseconds(std::clamp<std::int64_t>(question.wait_ms, 0, kMostWaitMs));
  if (question.asker) calls_.await(question.asker, *call);
  ++asked_;
  async_.outcome(*call, patience, [this, key](Result<CallOutcome> outcome) {
    --asked_;
    if (!outcome) return refuse(key, {std::move(outcome).error(), {}});
    if (outcome->kind == CallOutcome::Kind::failure) return refuse(key, outcome->failure);
    if (outcome->kind == CallOutcome::Kind::pending) {
      return reply(key, FrameType::call_error,
                   {BodyFormat::json,
                    dump_json({{"kind", "pending"}, {"message", "the call has not ended yet"}})});
    }
    reply(key, FrameType::call_result, std::move(outcome->value));
  });
}

// A call counts as made by who made the call that makes it. A container is believed only about
// calls that run on it. A batch's code speaks in the name of its first, and outlives the caller of
// that.
NestedCalls::Maker NestedCalls::maker(ContainerId container, std::string_view call_text) const {
  const auto id = CallId::parse(call_text);
  if (!id) return {};
  if (const Call* call = calls_.table().find(*id)) {
    return call->container == container ? Maker{call->id, call->caller} : Maker{};
  }
  const FinishedCall* ended = calls_.table().find_finished(*id);
  const bool ran_here = ended && ended->report.container == container;
  return ran_here && ended->function->spec.settings.batching.is_on() ? Maker{*id, {}} : Maker{};
}

void NestedCalls::on_credit(ContainerId container, const FrameHeader& header,
                            const std::string& body) {
  const auto found = waiters_.find({container, header.stream});
  const auto given = decode_credit(body);
  if (found == waiters_.end() || !given) return;
  StreamCredit& open = found->second->open;
  const StreamCredit gone{std::min(given->items, open.items), std::min(given->bytes, open.bytes)};
  open.items -= gone.items;
  open.bytes -= gone.bytes;
  calls_.accept_items(found->second->call, gone);
}

void NestedCalls::cancel(ContainerId container, const FrameHeader& header) {
  const auto gone = waiters_.extract({container, header.stream});
  if (!gone.empty()) calls_.abandon(gone.mapped()->call);
}

void NestedCalls::runner_gone(ContainerId container) {
  auto first = waiters_.lower_bound({container, 0});
  while (first != waiters_.end() && first->first.first == container) {
    const auto gone = waiters_.extract(first);
    calls_.abandon(gone.mapped()->call);
    first = waiters_.lower_bound({container, 0});
  }
}

void NestedCalls::reply(const Key& key, FrameType type, Body body) {
  const auto format = static_cast<std::uint8_t>(body.format);
  containers_.send(key.first, {0, type, format, 0, key.second}, {}, std::move(body.bytes));
}

void NestedCalls::refuse(const Key& key, CallFailure failure) {
  reply(key, FrameType::call_error, {BodyFormat::json, to_error_body(failure)});
}

}  // namespace ember

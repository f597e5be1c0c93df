#include "control/shared_requests.h"

#include <algorithm>
#include <cstring>

#include "control/error_body.h"
#include "control/shared_batch.h"

namespace ember {
namespace {

constexpr std::int64_t kMostTtlMs = 8ll * 24 * 3600 * 1000;  // more than a partition may have

constexpr std::size_t kMaxAsked = 100'000;  // of all containers, that wait for an answer

std::optional<std::string> part(bool is_given, const std::string& partition) {
  return is_given ? std::optional(partition) : std::nullopt;
}

}  // namespace

// u16 length, JSON of that length; values follow.
Result<SharedRequest> parse_shared_request(std::string body) {
  std::uint16_t length = 0;
  if (body.size() >= sizeof length) std::memcpy(&length, body.data(), sizeof length);
  if (body.size() < sizeof length + length) {
    return {ErrorCode::invalid_argument, "the request's head is cut off"};
  }
  auto head =
      parse_json(std::string_view(body).substr(sizeof length, length), "the request", length);
  if (!head) return std::move(head).error();
  Fields fields(*head, "");
  const std::string kind = fields.text("kind");
  SharedRequest request{
      .name = {kDefaultWorkspace, kind == "queue" ? SharedKind::queue : SharedKind::dict,
               fields.text("name")},
      .action = fields.text("action"),
      .key = fields.text_or("key", ""),
      .partition = fields.text_or("partition", ""),
      .has_partition = head->contains("partition"),
      .skip_if_exists = fields.flag_or("skip_if_exists", false),
      .ephemeral = fields.flag_or("ephemeral", false),
      .values = fields.flag_or("values", false),
      .after = fields.text_or("after", ""),
      .limit = fields.integer_or("limit", 1000),
      .count = fields.integer_or("count", 1),
      .wait_ms = fields.integer_or("wait_ms", 0),
      .ttl_ms = fields.integer_or("ttl_ms", kPartitionTtl.whole_ms()),
      .bytes = {}};
  if (kind != "queue" && kind != "dict") fields.fail("kind", "must be dict or queue");
  if (auto fine = fields.finish(); !fine) return std::move(fine).error();
  body.erase(0, sizeof length + length);
  request.bytes = std::move(body);
  return request;
}

void SharedRequests::start(ContainerId container, const FrameHeader& header, std::string& body) {
  const Key key{container, header.stream};
  auto request = parse_shared_request(std::move(body));
  if (!request) return refuse(key, {std::move(request).error(), {}});
  if (waiting_.contains(key)) {
    return refuse(key, {{ErrorCode::invalid_argument, "another request has that number"}, {}});
  }
  if (*asked_ >= kMaxAsked) {
    return refuse(key, {{ErrorCode::resource_exhausted,
                         "containers wait for " + std::to_string(kMaxAsked) +
                             " answers of dicts and queues already; try again later"},
                        {},
                        0,
                        {"shared_requests", kMaxAsked}});
  }
  perform(key, std::move(request).value());
}

void SharedRequests::perform(const Key& key, SharedRequest request) {
  const std::string& action = request.action;
  if (action == "put" || action == "get" || action == "pop" || action == "take") {
    if (request.name.kind == SharedKind::dict) return perform_on_dict(key, std::move(request));
    return perform_on_queue(key, std::move(request));
  }
  perform_on_all(key, request);
}

void SharedRequests::perform_on_all(const Key& key, const SharedRequest& request) {
  const SharedName& name = request.name;
  const std::string& action = request.action;
  if (action == "create") {
    const JsonValue wanted{
        {"name", name.name}, {"ephemeral", request.ephemeral}, {"may_exist", !request.ephemeral}};
    return service_.create(name.workspace, name.kind, dump_json(wanted), tell_document(key));
  }
  const auto partition = part(request.has_partition, request.partition);
  if (action == "show") return service_.show(name, partition, tell_document(key));
  if (action == "delete") return service_.remove(name, tell_document(key));
  if (action == "clear") return service_.clear(name, partition, tell_document(key));
  if (action == "heartbeat") {
    auto beaten = service_.heartbeat(name);
    return tell_document(key)(beaten ? Result<std::string>("{}") : std::move(beaten).error());
  }
  if (action == "page") {
    return service_.page({name, request.partition, request.after, request.limit,
                          request.values ? Values::read : Values::leave_out},
                         tell_items(key, name.kind));
  }
  refuse(key, {{ErrorCode::invalid_argument, "there is no such request"}, {}});
}

void SharedRequests::perform_on_dict(const Key& key, SharedRequest request) {
  const Values values = request.values ? Values::read : Values::leave_out;
  if (request.action == "get") {
    return service_.get(request.name, request.key, values, tell_items(key, SharedKind::dict));
  }
  if (request.action == "pop") {
    return service_.pop(request.name, request.key, tell_items(key, SharedKind::dict));
  }
  if (request.action != "put") {
    return refuse(key, {{ErrorCode::invalid_argument, "a dict takes no such request"}, {}});
  }
  auto entries = parse_shared_batch(SharedKind::dict, request.bytes);
  if (!entries) return refuse(key, {std::move(entries).error(), {}});
  service_.put(request.name, std::move(entries).value(),
               request.skip_if_exists ? WhenThere::skip : WhenThere::replace,
               [this, key](const Result<std::int64_t>& put) {
                 if (!put) return refuse(key, {put.error(), {}});
                 tell_document(key)(dump_json({{"put", *put}}));
               });
}

void SharedRequests::perform_on_queue(const Key& key, SharedRequest request) {
  if (request.action == "take") return take(key, request);
  if (request.action != "put") {
    return refuse(key, {{ErrorCode::invalid_argument, "a queue takes no such request"}, {}});
  }
  auto items = parse_shared_batch(SharedKind::queue, request.bytes);
  if (!items) return refuse(key, {std::move(items).error(), {}});
  const auto count = static_cast<std::int64_t>(items->size());
  const std::int64_t ttl_ms = std::clamp(request.ttl_ms, std::int64_t{0}, kMostTtlMs);
  service_.put_items(
      {request.name, request.partition, std::move(items).value(), Duration::milliseconds(ttl_ms)},
      [this, key, count](const Result<QueuePutOutcome>& outcome) {
        if (!outcome) return refuse(key, {outcome.error(), {}});
        if (outcome->is_full) return refuse(key, partition_is_full());
        tell_document(key)(dump_json({{"put", count}, {"items", outcome->items}}));
      });
}

void SharedRequests::take(const Key& key, const SharedRequest& request) {
  const std::int64_t wait_ms =
      std::clamp(request.wait_ms, std::int64_t{0}, kMaxPatience.whole_ms());
  auto tell = tell_items(key, SharedKind::queue);
  // Known before the service is asked: it may answer at once.
  waiting_[key] = nullptr;
  auto handle = service_.take(
      {request.name, request.partition, request.count, Duration::milliseconds(wait_ms)},
      [this, key, tell = std::move(tell)](Result<SharedItems> items) {
        waiting_.erase(key);
        tell(std::move(items));
      });
  if (const auto found = waiting_.find(key); found != waiting_.end()) {
    found->second = std::move(handle);
  }
}

void SharedRequests::cancel(ContainerId container, const FrameHeader& header) {
  waiting_.erase({container, header.stream});
}

void SharedRequests::runner_gone(ContainerId container) {
  waiting_.erase(waiting_.lower_bound({container, 0}),
                 waiting_.upper_bound({container, UINT64_MAX}));
}

SharedService::Done SharedRequests::tell_document(const Key& key) {
  return [this, key, counted = count_one()](Result<std::string> document) {
    if (!document) return refuse(key, {std::move(document).error(), {}});
    reply(key, FrameType::call_result, BodyFormat::json, std::move(document).value());
  };
}

SharedService::OnItems SharedRequests::tell_items(const Key& key, SharedKind kind) {
  return [this, key, kind, counted = count_one()](const Result<SharedItems>& items) {
    if (!items) return refuse(key, {items.error(), {}});
    reply(key, FrameType::call_result, BodyFormat::bytes, shared_batch(kind, *items));
  };
}

std::shared_ptr<void> SharedRequests::count_one() {
  ++*asked_;
  return {nullptr, [all = asked_](void*) { --*all; }};
}

void SharedRequests::reply(const Key& key, FrameType type, BodyFormat format, std::string body) {
  containers_.send(key.first, {0, type, static_cast<std::uint8_t>(format), 0, key.second}, {},
                   std::move(body));
}

void SharedRequests::refuse(const Key& key, const CallFailure& failure) {
  reply(key, FrameType::call_error, BodyFormat::json, to_error_body(failure));
}

}  // namespace ember

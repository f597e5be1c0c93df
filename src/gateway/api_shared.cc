// Dictionaries and queues. A single value is a body as it is; several go as one batch
// (control/shared_batch.h).
#include "control/shared_batch.h"
#include "control/shared_service.h"
#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/query.h"
#include "gateway/response_head.h"

namespace ember {
namespace {

constexpr std::int64_t kPageLimit = 1000;

SharedService& service(const ApiRequest& request) { return request.control.shared(); }

WorkspaceId workspace(const ApiRequest& request) {
  return service(request).workspace_of(request.key);
}

SharedName named(const ApiRequest& request, SharedKind kind) {
  return {workspace(request), kind, request.parameters[0]};
}

std::optional<std::string> partition_if_given(const ApiRequest& request) {
  const Query query(request.query);
  return query.has("partition") ? std::optional(query.text("partition")) : std::nullopt;
}

Values values_of(const Query& query) {
  return query.text("values") == "true" ? Values::read : Values::leave_out;
}

// What has no content type, or that of a form, is JSON: curl says so of what it is given.
BodyFormat format_of(MediaType media) {
  if (media == MediaType::pickle) return BodyFormat::pickle;
  return media == MediaType::other ? BodyFormat::bytes : BodyFormat::json;
}

SharedItem item_of(ApiRequest& request, std::string key) {
  SharedItem item;
  item.key = std::move(key);
  item.value = {format_of(request.media), std::move(request.body)};
  item.size_bytes = static_cast<std::int64_t>(item.value.bytes.size());
  return item;
}

// Until the client has taken them all.
void count_while_sent(const Result<SharedItems>& items, const Reply& reply) {
  const auto exchange = items && items->counted ? reply.exchange() : nullptr;
  if (exchange) exchange->hold(items->counted);
}

Response batch_response(SharedKind kind, const Result<SharedItems>& items) {
  if (!items) return error_response(items.error());
  return {.content_type = "application/octet-stream",
          .headers = {},
          .body = shared_batch(kind, *items)};
}

Response value_response(Result<SharedItems> items, std::string_view where_none) {
  if (!items) return error_response(items.error());
  if (items->items.empty()) {
    return error_response({ErrorCode::not_found, std::string(where_none)});
  }
  SharedValue& value = items->items[0].value;
  return {
      .content_type = content_type_of(value.format), .headers = {}, .body = std::move(value.bytes)};
}

// One entry, in the form that was asked for.
SharedService::OnItems entry_answer(const ApiRequest& request, const Reply& reply) {
  const bool as_batch = Query(request.query).text("batch") == "true";
  return [reply, as_batch](Result<SharedItems> items) {
    count_while_sent(items, reply);
    if (as_batch) return reply.send(batch_response(SharedKind::dict, items));
    reply.send(value_response(std::move(items), "the dict has no such key"));
  };
}

void page(const ApiRequest& request, SharedKind kind, const Reply& reply) {
  const Query query(request.query);
  const Values values = values_of(query);
  service(request).page({named(request, kind), query.text("partition"), query.text("after"),
                         query.number("limit").value_or(kPageLimit), values},
                        [reply, kind, values](const Result<SharedItems>& items) {
                          count_while_sent(items, reply);
                          if (values == Values::read || !items) {
                            return reply.send(batch_response(kind, items));
                          }
                          reply.send(json_response(shared_listing(kind, *items)));
                        });
}

void create(ApiRequest& request, SharedKind kind, const Reply& reply) {
  service(request).create(workspace(request), kind, std::move(request.body), answer_to(reply));
}

void beat(const ApiRequest& request, SharedKind kind, const Reply& reply) {
  const auto result = service(request).heartbeat(named(request, kind));
  reply.send(result ? json_response(std::string("{}")) : error_response(result.error()));
}

void put(const ApiRequest& request, std::vector<SharedItem> entries, const Reply& reply) {
  const bool skip = Query(request.query).text("skip_if_exists") == "true";
  service(request).put(named(request, SharedKind::dict), std::move(entries),
                       skip ? WhenThere::skip : WhenThere::replace,
                       [reply](const Result<std::int64_t>& count) {
                         if (!count) return reply.send(error_response(count.error()));
                         reply.send(json_response("{\"put\": " + std::to_string(*count) + "}"));
                       });
}

void put_items(const ApiRequest& request, std::vector<SharedItem> items, const Reply& reply) {
  const Query query(request.query);
  const std::int64_t ttl_ms = query.number("ttl_ms").value_or(kPartitionTtl.whole_ms());
  if (ttl_ms < 1 || ttl_ms > kMaxPartitionTtl.whole_ms()) {
    return reply.send(
        error_response({ErrorCode::invalid_argument, "ttl_ms must be 1 to 604800000: a week"}));
  }
  const std::size_t count = items.size();
  service(request).put_items(
      {named(request, SharedKind::queue), query.text("partition"), std::move(items),
       Duration::milliseconds(ttl_ms)},
      [reply, count](const Result<QueuePutOutcome>& outcome) {
        if (!outcome) return reply.send(error_response(outcome.error()));
        if (outcome->is_full) return reply.send(refusal_response(partition_is_full()));
        reply.send(json_response("{\"put\": " + std::to_string(count) +
                                 ", \"items\": " + std::to_string(outcome->items) + "}"));
      });
}

// Who goes away while it waits leaves the items to the others.
void take(const ApiRequest& request, std::int64_t most, const Reply& reply,
          SharedService::OnItems done) {
  const Query query(request.query);
  const std::int64_t wait_ms = query.number("wait_ms").value_or(0);
  if (wait_ms < 0 || wait_ms > kMaxPatience.whole_ms()) {
    return reply.send(error_response(
        {ErrorCode::invalid_argument, "wait_ms must be 0 to 60000: ask again after that"}));
  }
  auto place = service(request).take({named(request, SharedKind::queue), query.text("partition"),
                                      most, Duration::milliseconds(wait_ms)},
                                     std::move(done));
  if (const auto exchange = reply.exchange(); exchange && place) exchange->hold(std::move(place));
}

}  // namespace

// --- dictionaries -----------------------------------------------------------------------------

void handle_dicts(ApiRequest& request, Reply reply) {
  service(request).list(workspace(request), SharedKind::dict, answer_to(reply));
}

void handle_create_dict(ApiRequest& request, Reply reply) {
  create(request, SharedKind::dict, reply);
}

void handle_dict(ApiRequest& request, Reply reply) {
  service(request).show(named(request, SharedKind::dict), std::nullopt, answer_to(reply));
}

void handle_delete_dict(ApiRequest& request, Reply reply) {
  service(request).remove(named(request, SharedKind::dict), answer_to(reply));
}

void handle_clear_dict(ApiRequest& request, Reply reply) {
  service(request).clear(named(request, SharedKind::dict), std::nullopt, answer_to(reply));
}

void handle_dict_heartbeat(ApiRequest& request, Reply reply) {
  beat(request, SharedKind::dict, reply);
}

void handle_entries(ApiRequest& request, Reply reply) { page(request, SharedKind::dict, reply); }

void handle_put_entries(ApiRequest& request, Reply reply) {
  auto entries = parse_shared_batch(SharedKind::dict, request.body);
  if (!entries) return reply.send(error_response(entries.error()));
  put(request, std::move(entries).value(), reply);
}

void handle_put_entry(ApiRequest& request, Reply reply) {
  std::vector<SharedItem> one;
  one.push_back(item_of(request, Query(request.query).text("key")));
  put(request, std::move(one), reply);
}

void handle_entry(ApiRequest& request, Reply reply) {
  const Query query(request.query);
  const bool as_batch = query.text("batch") == "true";
  service(request).get(named(request, SharedKind::dict), query.text("key"),
                       as_batch ? values_of(query) : Values::read, entry_answer(request, reply));
}

void handle_pop_entry(ApiRequest& request, Reply reply) {
  service(request).pop(named(request, SharedKind::dict), Query(request.query).text("key"),
                       entry_answer(request, reply));
}

// --- queues -----------------------------------------------------------------------------------

void handle_queues(ApiRequest& request, Reply reply) {
  service(request).list(workspace(request), SharedKind::queue, answer_to(reply));
}

void handle_create_queue(ApiRequest& request, Reply reply) {
  create(request, SharedKind::queue, reply);
}

void handle_queue(ApiRequest& request, Reply reply) {
  service(request).show(named(request, SharedKind::queue), partition_if_given(request),
                        answer_to(reply));
}

void handle_delete_queue(ApiRequest& request, Reply reply) {
  service(request).remove(named(request, SharedKind::queue), answer_to(reply));
}

void handle_clear_queue(ApiRequest& request, Reply reply) {
  service(request).clear(named(request, SharedKind::queue), partition_if_given(request),
                         answer_to(reply));
}

void handle_queue_heartbeat(ApiRequest& request, Reply reply) {
  beat(request, SharedKind::queue, reply);
}

void handle_items(ApiRequest& request, Reply reply) { page(request, SharedKind::queue, reply); }

void handle_put_items(ApiRequest& request, Reply reply) {
  auto items = parse_shared_batch(SharedKind::queue, request.body);
  if (!items) return reply.send(error_response(items.error()));
  put_items(request, std::move(items).value(), reply);
}

void handle_put_item(ApiRequest& request, Reply reply) {
  std::vector<SharedItem> one;
  one.push_back(item_of(request, {}));
  put_items(request, std::move(one), reply);
}

void handle_take_item(ApiRequest& request, Reply reply) {
  take(request, 1, reply, [reply](Result<SharedItems> items) {
    reply.send(value_response(std::move(items), "no item has come; wait_ms waits for one"));
  });
}

void handle_take_items(ApiRequest& request, Reply reply) {
  take(request, Query(request.query).number("count").value_or(1), reply,
       [reply](const Result<SharedItems>& items) {
         reply.send(batch_response(SharedKind::queue, items));
       });
}

}  // namespace ember

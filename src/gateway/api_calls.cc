#include "control/async_calls.h"
#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/query.h"
#include "gateway/response_head.h"

namespace ember {
namespace {

constexpr std::int64_t kCallsShown = 50;
constexpr std::int64_t kMostCallsShown = 1000;
constexpr std::int64_t kMostWaitMs = 60'000;

Result<CallId> call_parameter(const ApiRequest& request) {
  const auto call = CallId::parse(request.parameters[0]);
  if (call) return *call;
  return {ErrorCode::not_found, "'" + request.parameters[0] +
                                    "' is not a call id; they look like fc-0123456789abc and "
                                    "`ember call list` shows them"};
}

Response value_response(CallOutcome outcome) {
  Response response;
  response.content_type = content_type_of(outcome.value.format);
  append_call_fields(response.headers, outcome.report);
  const bool nothing = outcome.value.format == BodyFormat::none;
  response.body = nothing ? "null" : std::move(outcome.value.bytes);
  return response;
}

Response outcome_response(Result<CallOutcome> outcome) {
  if (!outcome) return error_response(outcome.error());
  switch (outcome->kind) {
    case CallOutcome::Kind::value:
      return value_response(*std::move(outcome));
    case CallOutcome::Kind::failure:
      return failure_response(outcome->failure, outcome->report);
    case CallOutcome::Kind::pending:
      break;
  }
  Response response = json_response(std::move(outcome->state_json));
  response.status = 202;
  return response;
}

}  // namespace

Response spawned_response(const StartedCall& call, Acceptance acceptance) {
  if (!call) return refusal_response(call.refusal());
  const bool repeated = acceptance == Acceptance::repeated;
  Response response = json_response(R"({"call_id": ")" + (*call).text() + R"(", "repeated": )" +
                                    (repeated ? "true" : "false") + "}");
  response.status = 202;
  return response;
}

void handle_calls(ApiRequest& request, Reply reply) {
  const Query query(request.query);
  const std::int64_t limit = query.number("limit").value_or(kCallsShown);
  if (limit < 1 || limit > kMostCallsShown) {
    return reply.send(error_response({ErrorCode::invalid_argument, "limit must be 1 to 1000"}));
  }
  const auto count = static_cast<std::size_t>(limit);
  const std::string state = query.text("state");
  if (!state.empty()) {
    return request.control.async_calls().list(state, query.text("app"), count, answer_to(reply));
  }
  reply.send(json_response(request.control.calls_json(query.text("app"), count)));
}

void handle_call(ApiRequest& request, Reply reply) {
  const auto call = call_parameter(request);
  if (!call) return reply.send(error_response(call.error()));
  auto document = request.control.call_json(*call);
  if (document || document.error().code != ErrorCode::not_found) {
    return reply.send(json_response(std::move(document)));
  }
  request.control.async_calls().show(*call, answer_to(reply));
}

void handle_call_graph(ApiRequest& request, Reply reply) {
  const auto call = call_parameter(request);
  if (!call) return reply.send(error_response(call.error()));
  request.control.async_calls().graph(*call, answer_to(reply));
}

void handle_call_result(ApiRequest& request, Reply reply) {
  const auto call = call_parameter(request);
  if (!call) return reply.send(error_response(call.error()));
  const std::int64_t wait_ms = Query(request.query).number("wait_ms").value_or(0);
  if (wait_ms < 0 || wait_ms > kMostWaitMs) {
    return reply.send(error_response({ErrorCode::invalid_argument, "wait_ms must be 0 to 60000"}));
  }
  request.control.async_calls().outcome(
      *call, Duration::milliseconds(wait_ms),
      [reply](Result<CallOutcome> outcome) { reply.send(outcome_response(std::move(outcome))); });
}

void handle_retry_call(ApiRequest& request, Reply reply) {
  const auto call = call_parameter(request);
  if (!call) return reply.send(error_response(call.error()));
  request.control.async_calls().repeat(*call, request.key,
                                       [reply](const StartedCall& started, Acceptance acceptance) {
                                         reply.send(spawned_response(started, acceptance));
                                       });
}

void handle_cancel_call(ApiRequest& request, Reply reply) {
  const auto call = call_parameter(request);
  if (!call) return reply.send(error_response(call.error()));
  const auto result = request.control.cancel_call(*call);
  reply.send(result ? json_response(std::string("{}")) : error_response(result.error()));
}

void handle_call_cost(ApiRequest& request, Reply reply) {
  const auto call = call_parameter(request);
  reply.send(call ? json_response(request.control.call_cost_json(*call))
                  : error_response(call.error()));
}

void handle_map(ApiRequest& request, Reply reply) {
  const auto exchange = reply.exchange();
  MessageClient* client = exchange ? exchange->message_client() : nullptr;
  if (client == nullptr) {
    const auto app = request.control.app_json(request.parameters[0]);
    return reply.send(app ? upgrade_required() : error_response(app.error()));
  }
  const std::string variant = Query(request.query).text("variant");
  auto session = request.control.open_map(
      {request.parameters[0], request.parameters[1], request.key, variant}, *client);
  if (!session) return reply.send(error_response(session.error()));
  exchange->begin_messages(*std::move(session));
}

}  // namespace ember

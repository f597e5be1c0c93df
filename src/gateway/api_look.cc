#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/metrics_text.h"
#include "gateway/query.h"

namespace ember {
namespace {

constexpr std::int64_t kCallsShown = 50;
constexpr std::int64_t kMostCallsShown = 1000;

Result<CallId> call_parameter(const ApiRequest& request) {
  const auto call = CallId::parse(request.parameters[0]);
  if (call) return *call;
  return {ErrorCode::not_found, "'" + request.parameters[0] +
                                    "' is not a call id; they look like fc-0123456789abc and "
                                    "`ember call list` shows them"};
}

Result<Time> time_parameter(const Query& query, std::string_view name, Time otherwise) {
  const auto value = query.number(name);
  if (!value) return otherwise;
  if (*value >= 0) return Time::from_ms(*value);
  return {ErrorCode::invalid_argument,
          std::string(name) + " is not a number of milliseconds since 1970"};
}

}  // namespace

Response json_response(Result<std::string> document) {
  if (!document) return error_response(document.error());
  Response response;
  response.body = *std::move(document);
  if (!response.body.ends_with('\n')) response.body.push_back('\n');
  return response;
}

void handle_history(ApiRequest& request, Reply reply) {
  request.control.history_json(request.parameters[0], [reply](Result<std::string> document) {
    reply.send(json_response(std::move(document)));
  });
}

void handle_status(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.status_json()));
}
void handle_apps(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.apps_json()));
}
void handle_app(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.app_json(request.parameters[0])));
}
void handle_containers(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.containers_json()));
}
void handle_nodes(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.nodes_json()));
}
void handle_prices(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.prices_json()));
}

void handle_calls(ApiRequest& request, Reply reply) {
  const Query query(request.query);
  const std::int64_t limit = query.number("limit").value_or(kCallsShown);
  if (limit < 1 || limit > kMostCallsShown) {
    return reply.send(error_response({ErrorCode::invalid_argument, "limit must be 1 to 1000"}));
  }
  reply.send(json_response(
      request.control.calls_json(query.text("app"), static_cast<std::size_t>(limit))));
}

void handle_call(ApiRequest& request, Reply reply) {
  const auto call = call_parameter(request);
  reply.send(call ? json_response(request.control.call_json(*call)) : error_response(call.error()));
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

void handle_cost(ApiRequest& request, Reply reply) {
  const Query query(request.query);
  const auto from = time_parameter(query, "from_ms", Time{});
  const auto until = time_parameter(query, "until_ms", request.now);
  if (!from) return reply.send(error_response(from.error()));
  if (!until) return reply.send(error_response(until.error()));
  request.control.cost_json(
      query.text("by"), query.text("app"), *from, *until,
      [reply](Result<std::string> document) { reply.send(json_response(std::move(document))); });
}

void handle_health(ApiRequest& request, Reply reply) {
  if (request.stats.draining) {
    return reply.send(
        error_response({ErrorCode::unavailable, "draining: this server is stopping"}));
  }
  reply.send(json_response(std::string(R"({"status": "ok"})")));
}

void handle_metrics(ApiRequest& request, Reply reply) {
  Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = metrics_text(request.control.metrics(), request.stats);
  reply.send(std::move(response));
}

void handle_openapi(ApiRequest&, Reply reply) {
  reply.send(json_response(std::string(kOpenapiDocument)));
}

}  // namespace ember

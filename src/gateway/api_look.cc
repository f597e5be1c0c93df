#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/metrics_text.h"
#include "gateway/query.h"

namespace ember {
namespace {

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

std::function<void(Result<std::string>)> answer_to(Reply reply) {
  return [reply = std::move(reply)](Result<std::string> document) {
    reply.send(json_response(std::move(document)));
  };
}

void handle_history(ApiRequest& request, Reply reply) {
  request.control.history_json(request.parameters[0], answer_to(reply));
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
  response.body =
      metrics_text(request.control.metrics(), request.control.webhooks().counts(), request.stats);
  reply.send(std::move(response));
}

void handle_openapi(ApiRequest&, Reply reply) {
  reply.send(json_response(std::string(kOpenapiDocument)));
}

}  // namespace ember

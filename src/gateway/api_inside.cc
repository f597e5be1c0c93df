// Looking into containers, and running commands in them.
#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/query.h"

namespace ember {
namespace {

Result<ContainerId> container_parameter(const ApiRequest& request) {
  const auto container = ContainerId::parse(request.parameters[0]);
  if (container) return *container;
  return {ErrorCode::not_found, "'" + request.parameters[0] +
                                    "' is not a container id; they look like ct-0123456789abc and "
                                    "`ember container list` shows them"};
}

}  // namespace

Response upgrade_required() {
  Response response =
      error_response(426, {ErrorCode::invalid_argument,
                           "this path speaks WebSocket: send a request to upgrade (RFC 6455)"});
  response.headers.append("Upgrade: websocket\r\n");
  return response;
}

void handle_exec(ApiRequest& request, Reply reply) {
  const auto container = container_parameter(request);
  if (!container) return reply.send(error_response(container.error()));
  const auto exchange = reply.exchange();
  MessageClient* client = exchange ? exchange->message_client() : nullptr;
  if (client == nullptr) return reply.send(upgrade_required());
  auto session = request.control.open_exec(*container, *client);
  if (!session) return reply.send(error_response(session.error()));
  exchange->begin_messages(*std::move(session));
}

void handle_container_processes(ApiRequest& request, Reply reply) {
  const auto container = container_parameter(request);
  if (!container) return reply.send(error_response(container.error()));
  request.control.container_processes_json(*container, answer_to(std::move(reply)));
}

void handle_container_stacks(ApiRequest& request, Reply reply) {
  const auto container = container_parameter(request);
  if (!container) return reply.send(error_response(container.error()));
  request.control.container_stacks_json(*container, answer_to(std::move(reply)));
}

void handle_stop_container(ApiRequest& request, Reply reply) {
  const auto container = container_parameter(request);
  if (!container) return reply.send(error_response(container.error()));
  using Stop = Control::ContainerStop;
  const bool now = Query(request.query).text("now") == "true";
  reply.send(json_response(
      request.control.stop_container(*container, now ? Stop::now : Stop::when_empty)));
}

void handle_shell(ApiRequest& request, Reply reply) {
  const Query query(request.query);
  request.control.open_shell(request.parameters[0], query.text("function"),
                             answer_to(std::move(reply)));
}

}  // namespace ember

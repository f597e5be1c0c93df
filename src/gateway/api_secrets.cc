#include <utility>

#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/query.h"

namespace ember {
void handle_secrets(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.secrets_json()));
}

void handle_secret(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.secret_json(request.parameters[0])));
}

void handle_create_secret(ApiRequest& request, Reply reply) {
  request.control.create_secret(std::move(request.body), answer_to(std::move(reply)));
}

void handle_delete_secret(ApiRequest& request, Reply reply) {
  const std::string force = Query(request.query).text("force");
  if (!force.empty() && force != "true" && force != "false") {
    return reply.send(error_response({ErrorCode::invalid_argument, "force is true or false"}));
  }
  request.control.delete_secret(request.parameters[0], force == "true",
                                answer_to(std::move(reply)));
}

}  // namespace ember

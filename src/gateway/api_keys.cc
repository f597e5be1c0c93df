#include <utility>

#include "gateway/api.h"

namespace ember {
void handle_keys(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.keys_json()));
}

void handle_create_key(ApiRequest& request, Reply reply) {
  request.control.create_key(std::move(request.body), answer_to(std::move(reply)));
}

void handle_revoke_key(ApiRequest& request, Reply reply) {
  request.control.revoke_key(request.parameters[0], answer_to(std::move(reply)));
}

}  // namespace ember

#include <utility>

#include "gateway/api.h"

namespace ember {
void handle_leases(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.leases_json()));
}

// Who goes away while it waits does not want it any more.
void handle_ask_lease(ApiRequest& request, Reply reply) {
  auto wish = request.control.ask_lease(request.key, std::move(request.body), answer_to(reply));
  if (const auto exchange = reply.exchange(); exchange && wish) exchange->hold(std::move(wish));
}

void handle_end_lease(ApiRequest& request, Reply reply) {
  reply.send(json_response(request.control.end_lease(request.parameters[0])));
}

}  // namespace ember

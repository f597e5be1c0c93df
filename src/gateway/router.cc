#include "gateway/router.h"

#include <algorithm>

#include "gateway/query.h"

namespace ember {
namespace {

constexpr std::size_t kSmallBodyBytes = 64u << 10;
constexpr std::size_t kDocumentBytes = 16u << 20;

std::string_view next_segment(std::string_view& rest) {
  rest.remove_prefix(1);  // the slash
  const std::string_view segment = rest.substr(0, rest.find('/'));
  rest.remove_prefix(segment.size());
  return segment;
}

bool matches(std::string_view pattern, std::string_view path,
             std::vector<std::string>& parameters) {
  parameters.clear();
  while (!pattern.empty() && !path.empty()) {
    const std::string_view wanted = next_segment(pattern);
    const std::string_view segment = next_segment(path);
    if (!wanted.starts_with('{')) {
      if (segment != wanted) return false;
      continue;
    }
    auto value = percent_decode(segment);
    if (!value || value->empty()) return false;
    parameters.push_back(std::move(*value));
  }
  return pattern.empty() && path.empty();
}

std::string_view method_name(Method method) {
  switch (method) {
    case Method::get:
      return "GET, HEAD";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::remove:
      return "DELETE";
    case Method::head:
    case Method::other:
      return "";
  }
  return "";
}

}  // namespace

std::vector<Route> make_routes(std::size_t body_bytes) {
  const std::size_t document = std::min(body_bytes, kDocumentBytes);
  const std::size_t small = std::min(body_bytes, kSmallBodyBytes);
  const bool keyed = true, open = false;
  using enum Method;
  return {
      {post, "/fn/{app}/{function}", body_bytes, keyed, nullptr},
      {post, "/api/v1/sources", document, keyed, handle_register_source},
      {put, "/api/v1/blobs/{sha256}", body_bytes, keyed, handle_put_blob},
      {post, "/api/v1/images", document, keyed, handle_build_image},
      {get, "/api/v1/images", small, keyed, handle_images},
      {post, "/api/v1/images/prune", small, keyed, handle_prune_images},
      {get, "/api/v1/images/{image}/log", small, keyed, handle_image_log},
      {post, "/api/v1/images/{image}/push", small, keyed, handle_push_image},
      {post, "/api/v1/apps/{app}/deploy", document, keyed, handle_deploy},
      {get, "/api/v1/apps/{app}/history", small, keyed, handle_history},
      {post, "/api/v1/apps/{app}/rollback", small, keyed, handle_rollback},
      {post, "/api/v1/apps/{app}/stop", small, keyed, handle_stop_app},
      {post, "/api/v1/apps/{app}/heartbeat", small, keyed, handle_heartbeat},
      {post, "/api/v1/apps/{app}/functions/{function}/variants", small, keyed, handle_make_variant},
      {post, "/api/v1/apps/{app}/functions/{function}/autoscaler", small, keyed,
       handle_change_scaling},
      {get, "/api/v1/apps/{app}/functions/{function}/stats", small, keyed, handle_pool_stats},
      {get, "/api/v1/keys", small, keyed, handle_keys},
      {post, "/api/v1/keys", small, keyed, handle_create_key},
      {post, "/api/v1/keys/{key}/revoke", small, keyed, handle_revoke_key},
      {get, "/api/v1/secrets", small, keyed, handle_secrets},
      {post, "/api/v1/secrets", document, keyed, handle_create_secret},
      {get, "/api/v1/secrets/{secret}", small, keyed, handle_secret},
      {remove, "/api/v1/secrets/{secret}", small, keyed, handle_delete_secret},
      {get, "/api/v1/leases", small, keyed, handle_leases},
      {post, "/api/v1/leases", small, keyed, handle_ask_lease},
      {remove, "/api/v1/leases/{lease}", small, keyed, handle_end_lease},
      {get, "/api/v1/status", small, keyed, handle_status},
      {get, "/api/v1/apps", small, keyed, handle_apps},
      {get, "/api/v1/apps/{app}", small, keyed, handle_app},
      {get, "/api/v1/containers", small, keyed, handle_containers},
      {get, "/api/v1/containers/{container}/exec", small, keyed, handle_exec},
      {get, "/api/v1/containers/{container}/processes", small, keyed, handle_container_processes},
      {get, "/api/v1/containers/{container}/stacks", small, keyed, handle_container_stacks},
      {post, "/api/v1/containers/{container}/stop", small, keyed, handle_stop_container},
      {post, "/api/v1/apps/{app}/shell", small, keyed, handle_shell},
      {get, "/api/v1/apps/{app}/functions/{function}/map", small, keyed, handle_map},
      {get, "/api/v1/nodes", small, keyed, handle_nodes},
      {get, "/api/v1/calls", small, keyed, handle_calls},
      {get, "/api/v1/calls/{id}", small, keyed, handle_call},
      {get, "/api/v1/calls/{id}/graph", small, keyed, handle_call_graph},
      {get, "/api/v1/calls/{id}/result", small, keyed, handle_call_result},
      {post, "/api/v1/calls/{id}/retry", small, keyed, handle_retry_call},
      {post, "/api/v1/calls/{id}/cancel", small, keyed, handle_cancel_call},
      {get, "/api/v1/calls/{id}/cost", small, keyed, handle_call_cost},
      {get, "/api/v1/schedules", small, keyed, handle_schedules},
      {post, "/api/v1/apps/{app}/functions/{function}/schedule/run", small, keyed,
       handle_run_schedule},
      {post, "/api/v1/apps/{app}/functions/{function}/schedule/pause", small, keyed,
       handle_pause_schedule},
      {post, "/api/v1/apps/{app}/functions/{function}/schedule/resume", small, keyed,
       handle_resume_schedule},
      {get, "/api/v1/webhooks", small, keyed, handle_webhooks},
      {get, "/api/v1/webhooks/{id}", small, keyed, handle_webhook},
      {post, "/api/v1/webhooks/{id}/replay", small, keyed, handle_replay_webhook},
      {get, "/api/v1/webhook-secret", small, keyed, handle_webhook_secret},
      {post, "/api/v1/webhook-secret/rotate", small, keyed, handle_rotate_webhook_secret},
      {get, "/api/v1/cost", small, keyed, handle_cost},
      {get, "/api/v1/prices", small, keyed, handle_prices},
      {get, "/api/v1/logs", small, keyed, handle_logs},
      {get, "/api/v1/volumes", small, keyed, handle_volumes},
      {post, "/api/v1/volumes", small, keyed, handle_create_volume},
      {get, "/api/v1/volumes/{volume}", small, keyed, handle_volume},
      {get, "/api/v1/volumes/{volume}/history", small, keyed, handle_volume_history},
      {post, "/api/v1/volumes/{volume}/delete", small, keyed, handle_delete_volume},
      {post, "/api/v1/volumes/{volume}/rollback", small, keyed, handle_volume_rollback},
      {post, "/api/v1/volumes/{volume}/heartbeat", small, keyed, handle_volume_heartbeat},
      {get, "/api/v1/volumes/{volume}/tree", small, keyed, handle_volume_tree},
      {get, "/api/v1/volumes/{volume}/file", small, keyed, handle_volume_file},
      {post, "/api/v1/volumes/{volume}/needs", body_bytes, keyed, handle_volume_needs},
      {post, "/api/v1/volumes/{volume}/commit", body_bytes, keyed, handle_volume_commit},
      {put, "/api/v1/files", body_bytes, keyed, handle_put_files},
      {put, "/api/v1/files/{id}", document, keyed, handle_begin_file},
      {put, "/api/v1/files/{id}/chunks/{index}", body_bytes, keyed, handle_put_chunk},
      {put, "/api/v1/drafts/{name}", small, keyed, handle_begin_draft},
      {put, "/api/v1/drafts/{name}/chunks/{index}", body_bytes, keyed, handle_put_draft_chunk},
      {post, "/api/v1/drafts/{name}/finish", small, keyed, handle_finish_draft},
      {get, "/api/v1/dicts", small, keyed, handle_dicts},
      {post, "/api/v1/dicts", small, keyed, handle_create_dict},
      {get, "/api/v1/dicts/{dict}", small, keyed, handle_dict},
      {post, "/api/v1/dicts/{dict}/delete", small, keyed, handle_delete_dict},
      {post, "/api/v1/dicts/{dict}/clear", small, keyed, handle_clear_dict},
      {post, "/api/v1/dicts/{dict}/heartbeat", small, keyed, handle_dict_heartbeat},
      {get, "/api/v1/dicts/{dict}/entries", small, keyed, handle_entries},
      {post, "/api/v1/dicts/{dict}/entries", body_bytes + small, keyed, handle_put_entries},
      {get, "/api/v1/dicts/{dict}/entry", small, keyed, handle_entry},
      {put, "/api/v1/dicts/{dict}/entry", body_bytes, keyed, handle_put_entry},
      {remove, "/api/v1/dicts/{dict}/entry", small, keyed, handle_pop_entry},
      {get, "/api/v1/queues", small, keyed, handle_queues},
      {post, "/api/v1/queues", small, keyed, handle_create_queue},
      {get, "/api/v1/queues/{queue}", small, keyed, handle_queue},
      {post, "/api/v1/queues/{queue}/delete", small, keyed, handle_delete_queue},
      {post, "/api/v1/queues/{queue}/clear", small, keyed, handle_clear_queue},
      {post, "/api/v1/queues/{queue}/heartbeat", small, keyed, handle_queue_heartbeat},
      {get, "/api/v1/queues/{queue}/items", small, keyed, handle_items},
      {post, "/api/v1/queues/{queue}/items", body_bytes, keyed, handle_put_items},
      {post, "/api/v1/queues/{queue}/item", body_bytes, keyed, handle_put_item},
      {post, "/api/v1/queues/{queue}/take", small, keyed, handle_take_item},
      {post, "/api/v1/queues/{queue}/take_items", small, keyed, handle_take_items},
      {get, "/metrics", small, keyed, handle_metrics},
      {get, "/api/openapi.json", small, open, handle_openapi},
      {get, "/healthz", small, open, handle_health},
  };
}

Match find_route(std::span<const Route> routes, Method method, std::string_view path,
                 std::vector<std::string>& parameters) {
  Match match;
  const Method wanted = method == Method::head ? Method::get : method;
  for (const Route& route : routes) {
    if (!matches(route.pattern, path, parameters)) continue;
    if (route.method == wanted) return {&route, {}};
    if (!match.allowed.empty()) match.allowed.append(", ");
    match.allowed.append(method_name(route.method));
  }
  return match;
}

}  // namespace ember

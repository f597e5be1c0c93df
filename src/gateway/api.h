// The handlers of the native API. Each gets a whole request and answers now or later.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "control/async_calls.h"
#include "control/control.h"
#include "gateway/exchange.h"
#include "gateway/http.h"

namespace ember {

// The server's own figures, beside those of the functions.
struct EdgeStats {
  std::size_t connections = 0;
  std::uint64_t requests = 0;
  bool draining = false;
};

struct ApiRequest {
  Control& control;
  const EdgeStats& stats;
  const std::vector<std::string>& parameters;  // of the route, decoded
  std::string_view query;
  std::string& body;                  // may be moved away
  Time now;                           // wall clock
  KeyId key = {};                     // whose request it is; zero on an open route
  MediaType media = MediaType::none;  // of the body
};

using Handler = void (*)(ApiRequest& request, Reply reply);

// api_deploy.cc
void handle_register_source(ApiRequest& request, Reply reply);
void handle_put_blob(ApiRequest& request, Reply reply);
void handle_build_image(ApiRequest& request, Reply reply);
void handle_images(ApiRequest& request, Reply reply);
void handle_image_log(ApiRequest& request, Reply reply);
void handle_prune_images(ApiRequest& request, Reply reply);
void handle_push_image(ApiRequest& request, Reply reply);
void handle_deploy(ApiRequest& request, Reply reply);
void handle_rollback(ApiRequest& request, Reply reply);
void handle_stop_app(ApiRequest& request, Reply reply);
void handle_heartbeat(ApiRequest& request, Reply reply);
void handle_make_variant(ApiRequest& request, Reply reply);
void handle_change_scaling(ApiRequest& request, Reply reply);
void handle_pool_stats(ApiRequest& request, Reply reply);
// api_look.cc
void handle_history(ApiRequest& request, Reply reply);
void handle_status(ApiRequest& request, Reply reply);
void handle_apps(ApiRequest& request, Reply reply);
void handle_app(ApiRequest& request, Reply reply);
void handle_containers(ApiRequest& request, Reply reply);
void handle_nodes(ApiRequest& request, Reply reply);
void handle_cost(ApiRequest& request, Reply reply);
void handle_prices(ApiRequest& request, Reply reply);
void handle_health(ApiRequest& request, Reply reply);
void handle_metrics(ApiRequest& request, Reply reply);
void handle_openapi(ApiRequest& request, Reply reply);
// api_keys.cc
void handle_keys(ApiRequest& request, Reply reply);
void handle_create_key(ApiRequest& request, Reply reply);
void handle_revoke_key(ApiRequest& request, Reply reply);
// api_secrets.cc
void handle_secrets(ApiRequest& request, Reply reply);
void handle_secret(ApiRequest& request, Reply reply);
void handle_create_secret(ApiRequest& request, Reply reply);
void handle_delete_secret(ApiRequest& request, Reply reply);
// api_leases.cc
void handle_leases(ApiRequest& request, Reply reply);
void handle_ask_lease(ApiRequest& request, Reply reply);
void handle_end_lease(ApiRequest& request, Reply reply);
// api_volumes.cc
void handle_volumes(ApiRequest& request, Reply reply);
void handle_create_volume(ApiRequest& request, Reply reply);
void handle_volume(ApiRequest& request, Reply reply);
void handle_volume_history(ApiRequest& request, Reply reply);
void handle_delete_volume(ApiRequest& request, Reply reply);
void handle_volume_rollback(ApiRequest& request, Reply reply);
void handle_volume_heartbeat(ApiRequest& request, Reply reply);
void handle_volume_tree(ApiRequest& request, Reply reply);
void handle_volume_file(ApiRequest& request, Reply reply);
void handle_volume_needs(ApiRequest& request, Reply reply);
void handle_volume_commit(ApiRequest& request, Reply reply);
void handle_put_files(ApiRequest& request, Reply reply);
void handle_begin_file(ApiRequest& request, Reply reply);
void handle_put_chunk(ApiRequest& request, Reply reply);
void handle_begin_draft(ApiRequest& request, Reply reply);
void handle_put_draft_chunk(ApiRequest& request, Reply reply);
void handle_finish_draft(ApiRequest& request, Reply reply);
// api_calls.cc
void handle_calls(ApiRequest& request, Reply reply);
void handle_call(ApiRequest& request, Reply reply);
void handle_call_graph(ApiRequest& request, Reply reply);
void handle_call_result(ApiRequest& request, Reply reply);
void handle_retry_call(ApiRequest& request, Reply reply);
void handle_cancel_call(ApiRequest& request, Reply reply);
void handle_call_cost(ApiRequest& request, Reply reply);
void handle_map(ApiRequest& request, Reply reply);
// api_shared.cc
void handle_dicts(ApiRequest& request, Reply reply);
void handle_create_dict(ApiRequest& request, Reply reply);
void handle_dict(ApiRequest& request, Reply reply);
void handle_delete_dict(ApiRequest& request, Reply reply);
void handle_clear_dict(ApiRequest& request, Reply reply);
void handle_dict_heartbeat(ApiRequest& request, Reply reply);
void handle_entries(ApiRequest& request, Reply reply);
void handle_put_entries(ApiRequest& request, Reply reply);
void handle_entry(ApiRequest& request, Reply reply);
void handle_put_entry(ApiRequest& request, Reply reply);
void handle_pop_entry(ApiRequest& request, Reply reply);
void handle_queues(ApiRequest& request, Reply reply);
void handle_create_queue(ApiRequest& request, Reply reply);
void handle_queue(ApiRequest& request, Reply reply);
void handle_delete_queue(ApiRequest& request, Reply reply);
void handle_clear_queue(ApiRequest& request, Reply reply);
void handle_queue_heartbeat(ApiRequest& request, Reply reply);
void handle_items(ApiRequest& request, Reply reply);
void handle_put_items(ApiRequest& request, Reply reply);
void handle_put_item(ApiRequest& request, Reply reply);
void handle_take_item(ApiRequest& request, Reply reply);
void handle_take_items(ApiRequest& request, Reply reply);
// api_schedules.cc
void handle_schedules(ApiRequest& request, Reply reply);
void handle_run_schedule(ApiRequest& request, Reply reply);
void handle_pause_schedule(ApiRequest& request, Reply reply);
void handle_resume_schedule(ApiRequest& request, Reply reply);
// api_webhooks.cc
void handle_webhooks(ApiRequest& request, Reply reply);
void handle_webhook(ApiRequest& request, Reply reply);
void handle_replay_webhook(ApiRequest& request, Reply reply);
void handle_webhook_secret(ApiRequest& request, Reply reply);
void handle_rotate_webhook_secret(ApiRequest& request, Reply reply);
// api_logs.cc
void handle_logs(ApiRequest& request, Reply reply);

// api_inside.cc
void handle_exec(ApiRequest& request, Reply reply);
void handle_container_processes(ApiRequest& request, Reply reply);
void handle_container_stacks(ApiRequest& request, Reply reply);
void handle_stop_container(ApiRequest& request, Reply reply);
void handle_shell(ApiRequest& request, Reply reply);

// The document of /api/openapi.json, built in from openapi.json.
extern const std::string_view kOpenapiDocument;

// To a plain request on a path of messages.
Response upgrade_required();
// Of an asynchronous call that was accepted, or why it was not.
Response spawned_response(const StartedCall& call, Acceptance acceptance);
// A document from control, or the error in its place.
Response json_response(Result<std::string> document);
// What answers with one, as soon as control has it.
std::function<void(Result<std::string>)> answer_to(Reply reply);
// The version of a rollback; 0, the one before, where the body is empty.
Result<std::uint32_t> rollback_version(const std::string& body);

}  // namespace ember

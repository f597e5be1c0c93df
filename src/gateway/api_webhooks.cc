#include "control/webhook_service.h"
#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/query.h"

namespace ember {
namespace {

constexpr std::int64_t kWebhooksShown = 50;
constexpr std::int64_t kMostWebhooksShown = 1000;
constexpr std::int64_t kUsualOverlapS = 24 * 60 * 60;
constexpr std::int64_t kMostOverlapS = 7 * kUsualOverlapS;

Result<WebhookId> webhook_parameter(const ApiRequest& request) {
  const auto webhook = WebhookId::parse(request.parameters[0]);
  if (webhook) return *webhook;
  return {ErrorCode::not_found, "'" + request.parameters[0] +
                                    "' is not a webhook's id; they look like wh-0123456789abc and "
                                    "`ember webhook list` shows them"};
}

}  // namespace

void handle_webhooks(ApiRequest& request, Reply reply) {
  const Query query(request.query);
  const std::int64_t limit = query.number("limit").value_or(kWebhooksShown);
  if (limit < 1 || limit > kMostWebhooksShown) {
    return reply.send(error_response({ErrorCode::invalid_argument, "limit must be 1 to 1000"}));
  }
  const std::string name = query.text("state");
  const auto state = parse_webhook_state(name);
  if (!name.empty() && !state) {
    return reply.send(
        error_response({ErrorCode::invalid_argument, "state must be waiting, delivered or dead"}));
  }
  request.control.webhooks().list(state, static_cast<std::size_t>(limit), answer_to(reply));
}

void handle_webhook(ApiRequest& request, Reply reply) {
  const auto webhook = webhook_parameter(request);
  if (!webhook) return reply.send(error_response(webhook.error()));
  request.control.webhooks().show(*webhook, answer_to(reply));
}

void handle_replay_webhook(ApiRequest& request, Reply reply) {
  const auto webhook = webhook_parameter(request);
  if (!webhook) return reply.send(error_response(webhook.error()));
  request.control.webhooks().replay(*webhook, answer_to(reply));
}

void handle_webhook_secret(ApiRequest& request, Reply reply) {
  request.control.webhooks().secret(answer_to(reply));
}

void handle_rotate_webhook_secret(ApiRequest& request, Reply reply) {
  const std::int64_t overlap_s = Query(request.query).number("overlap_s").value_or(kUsualOverlapS);
  if (overlap_s < 0 || overlap_s > kMostOverlapS) {
    return reply.send(
        error_response({ErrorCode::invalid_argument, "overlap_s must be 0 to 604800: a week"}));
  }
  request.control.webhooks().rotate_secret(Duration::seconds(overlap_s), answer_to(reply));
}

}  // namespace ember

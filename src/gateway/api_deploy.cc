#include <nlohmann/json.hpp>

#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/query.h"

namespace ember {
namespace {

std::string upload_json(const UploadResult& upload) {
  std::string body = R"({"digest": )" + json_string(upload.digest) + R"(, "missing": [)";
  for (std::size_t i = 0; i < upload.missing.size(); ++i) {
    if (i > 0) body.append(", ");
    body.append(json_string(upload.missing[i]));
  }
  return body.append("]}");
}

// Turns a build's lines and end into NDJSON. A build that is refused before it has a name is an
// error like any other.
class BuildLines final : public BuildObserver {
 public:
  explicit BuildLines(Reply reply) : reply_(reply), lines_(std::move(reply)) {}

  void on_line(std::string_view line) override {
    lines_.write(R"({"line": )" + json_string(line) + "}");
  }

  void on_end(const std::string& image_id, Result<> result) override {
    if (!result && image_id.empty() && !lines_.begun()) {
      return reply_.send(error_response(result.error()));
    }
    std::string last = R"({"image_id": )" + json_string(image_id) + R"(, "ready": )";
    if (result) return lines_.write_last(last + "true}");
    lines_.write_last(last + R"(false, "error": {"code": ")" +
                      std::string(error_name(result.error().code)) + R"(", "message": )" +
                      json_string(result.error().message) + "}}");
  }

 private:
  Reply reply_;
  LineStream lines_;
};

// Of a body that rollback_version() has taken.
Result<Rollout> rollback_strategy(const std::string& body) {
  if (body.empty()) return Rollout::rolling;
  const auto document = nlohmann::json::parse(body, nullptr, false);
  const auto strategy = document.find("strategy");
  if (strategy == document.end()) return Rollout::rolling;
  const auto rollout = strategy->is_string() ? parse_rollout(strategy->get<std::string>())
                                             : std::optional<Rollout>();
  if (!rollout) return {ErrorCode::invalid_argument, kUnknownRollout};
  return *rollout;
}

}  // namespace

Result<std::uint32_t> rollback_version(const std::string& body) {
  if (body.empty()) return 0u;
  const auto document = nlohmann::json::parse(body, nullptr, false);
  if (!document.is_object()) {
    return {ErrorCode::invalid_argument, "the body is not a JSON object; send {\"version\": n}"};
  }
  const auto version = document.find("version");
  if (version == document.end()) return 0u;
  if (!version->is_number_unsigned() || version->get<std::uint64_t>() > UINT32_MAX) {
    return {ErrorCode::invalid_argument,
            "version is not a whole number; the history lists the versions"};
  }
  return version->get<std::uint32_t>();
}

void handle_register_source(ApiRequest& request, Reply reply) {
  request.control.register_source(std::move(request.body), [reply](Result<UploadResult> result) {
    if (!result) return reply.send(error_response(result.error()));
    reply.send(json_response(upload_json(*result)));
  });
}

void handle_put_blob(ApiRequest& request, Reply reply) {
  request.control.put_blob(request.parameters[0], std::move(request.body),
                           [reply](Result<> result) {
                             if (!result) return reply.send(error_response(result.error()));
                             reply.send(json_response(std::string("{}")));
                           });
}

void handle_build_image(ApiRequest& request, Reply reply) {
  request.control.build_image(std::move(request.body), std::make_shared<BuildLines>(reply));
}

void handle_images(ApiRequest& request, Reply reply) {
  request.control.images_json(answer_to(reply));
}

void handle_image_log(ApiRequest& request, Reply reply) {
  request.control.image_log_json(request.parameters[0], answer_to(reply));
}

void handle_prune_images(ApiRequest& request, Reply reply) {
  request.control.prune_images(std::move(request.body), answer_to(reply));
}

void handle_push_image(ApiRequest& request, Reply reply) {
  request.control.push_image(request.parameters[0], std::move(request.body),
                             std::make_shared<BuildLines>(reply));
}

void handle_deploy(ApiRequest& request, Reply reply) {
  request.control.deploy(request.parameters[0], std::move(request.body), answer_to(reply));
}

void handle_rollback(ApiRequest& request, Reply reply) {
  const auto version = rollback_version(request.body);
  if (!version) return reply.send(error_response(version.error()));
  const auto rollout = rollback_strategy(request.body);
  if (!rollout) return reply.send(error_response(rollout.error()));
  request.control.rollback(request.parameters[0], *version, *rollout, answer_to(reply));
}

void handle_stop_app(ApiRequest& request, Reply reply) {
  request.control.stop_app(request.parameters[0], answer_to(reply));
}

void handle_make_variant(ApiRequest& request, Reply reply) {
  request.control.make_variant(request.parameters[0], request.parameters[1],
                               std::move(request.body), answer_to(reply));
}

void handle_change_scaling(ApiRequest& request, Reply reply) {
  request.control.change_scaling(request.parameters[0], request.parameters[1],
                                 Query(request.query).text("variant"), std::move(request.body),
                                 answer_to(reply));
}

void handle_pool_stats(ApiRequest& request, Reply reply) {
  const auto stats = request.control.pool_stats_json(request.parameters[0], request.parameters[1],
                                                     Query(request.query).text("variant"));
  reply.send(json_response(stats));
}

void handle_heartbeat(ApiRequest& request, Reply reply) {
  const auto result = request.control.heartbeat(request.parameters[0]);
  reply.send(result ? json_response(std::string("{}")) : error_response(result.error()));
}

}  // namespace ember

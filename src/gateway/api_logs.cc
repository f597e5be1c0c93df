#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/query.h"

namespace ember {
namespace {

constexpr std::int64_t kMostLastLines = 10'000;

std::string log_json(const LogLine& line) {
  std::string text = R"({"at_ms": )" + std::to_string(line.at.whole_ms());
  text.append(R"(, "app": )").append(json_string(line.app));
  text.append(R"(, "function": )").append(json_string(line.function));
  text.append(R"(, "container_id": )");
  text.append(line.container ? json_string(line.container.text()) : "null");
  text.append(R"(, "call_id": )");
  text.append(line.call ? json_string(line.call.text()) : "null");
  text.append(R"(, "stream": )").append(json_string(line.stream));
  text.append(R"(, "text": )").append(json_string(line.text)).append("}");
  return text;
}

class FollowedLines final : public LogFollower {
 public:
  explicit FollowedLines(Reply reply) : lines_(std::move(reply)) {}

  // What was there before, in one piece: it is bounded by the query, so none of it is left out.
  void begin(const std::vector<LogLine>& past) {
    std::string text;
    for (const LogLine& line : past) text.append(log_json(line)).append("\n");
    lines_.begin(text);
  }
  void on_line(const LogLine& line) override { lines_.write(log_json(line)); }

 private:
  LineStream lines_;
};

Result<LogQuery> log_query(const Query& query) {
  LogQuery result;
  result.app = query.text("app");
  if (result.app.empty()) {
    return {ErrorCode::invalid_argument, "app is missing; ask for /api/v1/logs?app=NAME"};
  }
  result.function = query.text("function");
  if (const auto text = query.text("container"); !text.empty()) {
    result.container = ContainerId::parse(text);
    if (!result.container) return {ErrorCode::not_found, "'" + text + "' is not a container id"};
  }
  if (const auto text = query.text("call"); !text.empty()) {
    result.call = CallId::parse(text);
    if (!result.call) return {ErrorCode::not_found, "'" + text + "' is not a call id"};
  }
  if (const auto last = query.number("last")) {
    if (*last < 0 || *last > kMostLastLines) {
      return {ErrorCode::invalid_argument, "last must be 0 to 10000"};
    }
    result.last = static_cast<std::size_t>(*last);
  }
  return result;
}

void follow(ApiRequest& request, const LogQuery& query, const std::vector<LogLine>& past,
            const Reply& reply) {
  // Shared with control, which may still hold it when the client has gone.
  const auto follower = std::make_shared<FollowedLines>(reply);
  auto subscription = request.control.follow_logs(query, follower);
  if (!subscription) return reply.send(error_response(subscription.error()));
  follower->begin(past);
  if (const auto exchange = reply.exchange()) exchange->hold(*std::move(subscription));
}

}  // namespace

void handle_logs(ApiRequest& request, Reply reply) {
  const Query words(request.query);
  const auto query = log_query(words);
  if (!query) return reply.send(error_response(query.error()));
  const auto past = request.control.logs(*query);
  if (!past) return reply.send(error_response(past.error()));
  if (words.text("follow") == "true") return follow(request, *query, *past, reply);
  Response response;
  response.content_type = "application/x-ndjson";
  for (const LogLine& line : *past) response.body.append(log_json(line)).append("\n");
  reply.send(std::move(response));
}

}  // namespace ember

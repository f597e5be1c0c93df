#include "gateway/api.h"
#include "gateway/error_response.h"
#include "gateway/query.h"

namespace ember {
namespace {

constexpr std::int64_t kMostLastLines = 10'000;
constexpr std::size_t kLongestSearch = 256;
constexpr std::int64_t kLatestMs = 253'402'300'799'999;  // the end of 9999

std::string log_json(const LogLine& line) {
  std::string text = R"({"at_ms": )" + std::to_string(line.at.whole_ms());
  text.append(R"(, "app": )").append(json_string(line.app));
  text.append(R"(, "function": )").append(json_string(line.function));
  text.append(R"(, "container_id": )");
  text.append(line.container ? json_string(line.container.text()) : "null");
  text.append(R"(, "call_id": )");
  text.append(line.call ? json_string(line.call.text()) : "null");
  text.append(R"(, "stream": )").append(json_string(line.stream));
  if (line.dropped) {
    text.append(R"(, "log_lines_dropped": )").append(std::to_string(line.dropped.lines));
    text.append(R"(, "log_bytes_dropped": )").append(std::to_string(line.dropped.bytes));
  }
  text.append(R"(, "text": )").append(json_string(line.text)).append("}");
  return text;
}

std::string ndjson(const std::vector<LogLine>& lines) {
  std::string text;
  for (const LogLine& line : lines) text.append(log_json(line)).append("\n");
  return text;
}

class FollowedLines final : public LogFollower {
 public:
  explicit FollowedLines(Reply reply) : lines_(std::move(reply)) {}

  // What was there before, in one piece: it is bounded by the query, so none of it is left out.
  void begin(const std::vector<LogLine>& past) {
    lines_.begin(ndjson(past));
    for (std::string& line : early_) lines_.write(std::move(line));
    early_ = {};
  }
  void on_line(const LogLine& line) override {
    if (lines_.begun()) return lines_.write(log_json(line));
    if (early_.size() < kMostLastLines) return early_.push_back(log_json(line));
    lines_.leave_out();
  }

 private:
  LineStream lines_;
  std::vector<std::string> early_;  // lines that came before those of the past had been read
};

Result<> read_times(const Query& query, LogQuery& result) {
  const auto since_ms = query.number("since_ms"), until_ms = query.number("until_ms");
  for (const auto& [name, ms] :
       {std::pair("since_ms", since_ms), std::pair("until_ms", until_ms)}) {
    if (!ms || (*ms >= 0 && *ms <= kLatestMs)) continue;
    return {ErrorCode::invalid_argument,
            std::string(name) + " must be a time in milliseconds since 1970"};
  }
  if (since_ms) result.since = Time::from_ms(*since_ms);
  // All of that millisecond.
  if (until_ms) result.until = Time::from_ms(*until_ms + 1) - Duration{1};
  if (result.until < result.since) {
    return {ErrorCode::invalid_argument, "until_ms is before since_ms"};
  }
  if (until_ms && query.text("follow") == "true") {
    return {ErrorCode::invalid_argument, "until_ms has an end and follow has none; give one"};
  }
  return Ok{};
}

Result<LogQuery> log_query(const Query& query) {
  LogQuery result;
  result.app = query.text("app");
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
  if (auto read = read_times(query, result); !read) return std::move(read).error();
  result.search = query.text("search");
  if (result.search.size() > kLongestSearch) {
    return {ErrorCode::invalid_argument, "search has more than 256 bytes"};
  }
  if (result.search.find('\n') != std::string::npos) {
    return {ErrorCode::invalid_argument, "search is looked for in single lines; give it one"};
  }
  return result;
}

void follow(Control& control, const LogQuery& query, const Reply& reply) {
  // Shared with control, which may still hold it when the client has gone.
  const auto follower = std::make_shared<FollowedLines>(reply);
  auto subscription = control.follow_logs(query, follower);
  if (!subscription) return reply.send(error_response(subscription.error()));
  if (const auto exchange = reply.exchange()) exchange->hold(*std::move(subscription));
  control.logs(query, [follower, reply](const Result<std::vector<LogLine>>& past) {
    if (!past) return reply.send(error_response(past.error()));
    follower->begin(*past);
  });
}

enum class Tail { cut, followed };

void answer_logs(Control& control, const LogQuery& query, Tail tail, const Reply& reply) {
  if (tail == Tail::followed) return follow(control, query, reply);
  control.logs(query, [reply](const Result<std::vector<LogLine>>& lines) {
    if (!lines) return reply.send(error_response(lines.error()));
    Response response;
    response.content_type = "application/x-ndjson";
    response.body = ndjson(*lines);
    reply.send(std::move(response));
  });
}

}  // namespace

void handle_logs(ApiRequest& request, Reply reply) {
  const Query words(request.query);
  auto query = log_query(words);
  if (!query) return reply.send(error_response(query.error()));
  const Tail tail = words.text("follow") == "true" ? Tail::followed : Tail::cut;
  if (!query->app.empty()) return answer_logs(request.control, *query, tail, reply);
  if (!query->container) {
    return reply.send(error_response({ErrorCode::invalid_argument,
                                      "app is missing; ask for /api/v1/logs?app=NAME, or "
                                      "?container=ID"}));
  }
  request.control.app_of_container(*query->container,
                                   [control = &request.control, query = *query, tail,
                                    reply](const Result<std::string>& app) mutable {
                                     if (!app) return reply.send(error_response(app.error()));
                                     query.app = *app;
                                     answer_logs(*control, query, tail, reply);
                                   });
}

}  // namespace ember

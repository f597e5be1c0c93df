#include "gateway/exchange.h"

namespace ember {

void LineStream::begin(std::string_view text) {
  const auto exchange = reply_.exchange();
  if (!exchange || begun_) return;
  begun_ = true;
  exchange->begin_stream("application/x-ndjson");
  if (!text.empty()) exchange->write_stream(text);
}

void LineStream::write(std::string line) {
  begin();
  const auto exchange = reply_.exchange();
  if (!exchange) return;
  const std::size_t backlog = exchange->stream_backlog_bytes();
  if (backlog > 0 && backlog + line.size() > exchange->stream_limit_bytes()) {
    ++dropped_;
    return;
  }
  say_dropped(*exchange);
  line.push_back('\n');
  exchange->write_stream(line);
}

void LineStream::write_last(std::string line) {
  begin();
  const auto exchange = reply_.exchange();
  if (!exchange) return;
  say_dropped(*exchange);
  line.push_back('\n');
  exchange->write_stream(line);
  exchange->end_stream();
}

void LineStream::say_dropped(Exchange& exchange) {
  if (dropped_ == 0) return;
  exchange.write_stream(R"({"stream": "system", "log_lines_dropped": )" + std::to_string(dropped_) +
                        R"(, "text": ")" + std::to_string(dropped_) +
                        " lines were left out here: this client reads too slowly\"}\n");
  dropped_ = 0;
}

}  // namespace ember

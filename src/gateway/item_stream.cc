#include "gateway/item_stream.h"

#include "gateway/error_response.h"

namespace ember {
namespace {

// Kinds of frames.
constexpr char kSilence = 0, kItem = 1, kError = 2, kEnd = 3, kStatus = 4, kProgress = 5,
               kResult = 6;

std::string frame(char kind, std::string_view bytes) {
  std::string text(1, kind);
  for (int shift = 0; shift < 32; shift += 8) {
    text.push_back(static_cast<char>(bytes.size() >> shift & 0xff));
  }
  return text.append(bytes);
}

// JSON has no line break but between its tokens, where a space does as well.
void append_line(std::string& out, std::string_view json) {
  while (json.ends_with('\n')) json.remove_suffix(1);
  const std::size_t start = out.size();
  out.append(json);
  for (std::size_t i = start; i < out.size(); ++i) {
    if (out[i] == '\n' || out[i] == '\r') out[i] = ' ';
  }
}

std::string event(std::string_view name, std::string_view json) {
  std::string text;
  if (!name.empty()) text.append("event: ").append(name).append("\n");
  text.append("data: ");
  append_line(text, json);
  return text.append("\n\n");
}

std::string line(std::string_view json) {
  std::string text;
  append_line(text, json);
  return text.append("\n");
}

std::string_view phase_name(CallPhase phase) {
  switch (phase) {
    case CallPhase::queued:
      return "queued";
    case CallPhase::starting:
      return "starting";
    case CallPhase::running:
      return "running";
  }
  return "";
}

void append_field(std::string& json, std::string_view name, std::string_view value) {
  json.append(json.size() > 1 ? ", \"" : "\"").append(name).append("\": ").append(value);
}

std::string report_json(const CallReport& report) {
  std::string json = "{";
  append_field(json, "call_id", json_string(report.call.text()));
  append_field(json, "container_id",
               report.container ? json_string(report.container.text()) : "null");
  append_field(json, "items", std::to_string(report.items));
  append_field(json, "attempt", std::to_string(report.attempt));
  append_field(json, "cold", report.cold ? "true" : "false");
  append_field(json, "gpu", report.gpu.empty() ? "null" : json_string(report.gpu));
  append_field(json, "cost_usd", json_string(report.cost.decimal()));
  append_field(json, "start_cost_usd", json_string(report.start_cost.decimal()));
  append_field(json, "queued_us", std::to_string(report.queued_us));
  append_field(json, "boot_ms", std::to_string(report.boot_ms));
  append_field(json, "load_ms", std::to_string(report.load_ms));
  append_field(json, "execute_us", std::to_string(report.execute_us));
  append_field(json, "total_us", std::to_string(report.total_us));
  return json.append("}");
}

}  // namespace

std::string_view ItemStream::content_type() const {
  switch (framing_) {
    case ItemFraming::lines:
      return "application/x-ndjson";
    case ItemFraming::events:
      return "text/event-stream";
    case ItemFraming::frames:
      return "application/x-ember-items";
    case ItemFraming::watched_frames:
      return "application/x-ember-watched";
  }
  return "";
}

bool ItemStream::has_frames() const {
  return framing_ == ItemFraming::frames || framing_ == ItemFraming::watched_frames;
}

std::string ItemStream::item(std::string_view value) const {
  if (has_frames()) return frame(kItem, value);
  return framing_ == ItemFraming::events ? event("", value) : line(value);
}

std::string ItemStream::error(std::string_view error) const {
  if (has_frames()) return frame(kError, error);
  return framing_ == ItemFraming::events ? event("error", error) : line(error);
}

std::string ItemStream::end(const CallReport& report) const {
  if (framing_ == ItemFraming::lines) return {};
  const std::string json = report_json(report);
  return has_frames() ? frame(kEnd, json) : event("end", json);
}

std::string ItemStream::silence() const {
  if (has_frames()) return frame(kSilence, "");
  return framing_ == ItemFraming::events ? ":\n\n" : "\n";
}

std::string ItemStream::result(std::string_view value) const {
  return has_frames() ? frame(kResult, value) : event("result", value);
}

std::string ItemStream::status(const CallStatus& status) const {
  std::string json = "{";
  append_field(json, "phase", json_string(phase_name(status.phase)));
  append_field(json, "ahead", std::to_string(status.ahead));
  append_field(json, "left_ms", status.left ? std::to_string(status.left->whole_ms()) : "null");
  append_field(json, "reason", json_string(status.reason));
  json.append("}");
  return has_frames() ? frame(kStatus, json) : event("status", json);
}

std::string ItemStream::progress(std::string_view progress) const {
  return has_frames() ? frame(kProgress, progress) : event("progress", progress);
}

void ItemStream::wrote_item(std::size_t item_bytes, std::uint64_t stream_bytes) {
  items_.push_back({stream_bytes, static_cast<std::uint32_t>(item_bytes)});
}

StreamCredit ItemStream::gone(std::uint64_t stream_bytes) {
  StreamCredit credit;
  while (!items_.empty() && items_.front().end <= stream_bytes) {
    ++credit.items;
    credit.bytes += items_.front().bytes;
    items_.pop_front();
  }
  return credit;
}

}  // namespace ember

#include "gateway/response_head.h"

#include <array>
#include <charconv>
#include <ctime>

namespace ember {
namespace {

std::string_view status_line(int status) {
  switch (status) {
    case 101:
      return "HTTP/1.1 101 Switching Protocols\r\n";
    case 200:
      return "HTTP/1.1 200 OK\r\n";
    case 201:
      return "HTTP/1.1 201 Created\r\n";
    case 202:
      return "HTTP/1.1 202 Accepted\r\n";
    case 204:
      return "HTTP/1.1 204 No Content\r\n";
    case 206:
      return "HTTP/1.1 206 Partial Content\r\n";
    case 301:
      return "HTTP/1.1 301 Moved Permanently\r\n";
    case 302:
      return "HTTP/1.1 302 Found\r\n";
    case 303:
      return "HTTP/1.1 303 See Other\r\n";
    case 304:
      return "HTTP/1.1 304 Not Modified\r\n";
    case 307:
      return "HTTP/1.1 307 Temporary Redirect\r\n";
    case 308:
      return "HTTP/1.1 308 Permanent Redirect\r\n";
    case 400:
      return "HTTP/1.1 400 Bad Request\r\n";
    case 401:
      return "HTTP/1.1 401 Unauthorized\r\n";
    case 403:
      return "HTTP/1.1 403 Forbidden\r\n";
    case 404:
      return "HTTP/1.1 404 Not Found\r\n";
    case 405:
      return "HTTP/1.1 405 Method Not Allowed\r\n";
    case 408:
      return "HTTP/1.1 408 Request Timeout\r\n";
    case 409:
      return "HTTP/1.1 409 Conflict\r\n";
    case 413:
      return "HTTP/1.1 413 Content Too Large\r\n";
    case 415:
      return "HTTP/1.1 415 Unsupported Media Type\r\n";
    case 417:
      return "HTTP/1.1 417 Expectation Failed\r\n";
    case 422:
      return "HTTP/1.1 422 Unprocessable Content\r\n";
    case 429:
      return "HTTP/1.1 429 Too Many Requests\r\n";
    case 431:
      return "HTTP/1.1 431 Request Header Fields Too Large\r\n";
    case 499:
      return "HTTP/1.1 499 Client Closed Request\r\n";
    case 500:
      return "HTTP/1.1 500 Internal Server Error\r\n";
    case 502:
      return "HTTP/1.1 502 Bad Gateway\r\n";
    case 503:
      return "HTTP/1.1 503 Service Unavailable\r\n";
    case 504:
      return "HTTP/1.1 504 Gateway Timeout\r\n";
    case 505:
      return "HTTP/1.1 505 HTTP Version Not Supported\r\n";
    case 507:
      return "HTTP/1.1 507 Insufficient Storage\r\n";
    default:
      return {};
  }
}

// Microseconds as milliseconds with three decimals.
void append_ms(std::string& out, std::int64_t us) {
  if (us < 0) us = 0;
  append_number(out, us / 1000);
  const auto rest = static_cast<int>(us % 1000);
  const char decimals[] = {'.', static_cast<char>('0' + rest / 100),
                           static_cast<char>('0' + rest / 10 % 10),
                           static_cast<char>('0' + rest % 10)};
  out.append(decimals, sizeof decimals);
}

template <class AnyId>
void append_id(std::string& out, AnyId id, std::string_view prefix) {
  out.append(prefix).append(1, '-').append(id_digits(id.value));
}

void append_money(std::string& out, Money money) {
  // The common cases by hand; Money::decimal() makes several strings.
  if (money.nano_usd < 0 || money.nano_usd >= 1'000'000'000) {
    out.append(money.decimal());
    return;
  }
  char text[] = "0.000000000";
  std::int64_t rest = money.nano_usd;
  for (char* digit = text + 10; rest > 0; --digit, rest /= 10) {
    *digit = static_cast<char>('0' + rest % 10);
  }
  out.append(text, sizeof text - 1);
}

}  // namespace

void append_number(std::string& out, std::int64_t value) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

void append_status(std::string& out, int status, Framing framing, std::string_view date_line) {
  if (const auto line = status_line(status); !line.empty()) {
    out.append(line);
  } else {  // a status of the user's choosing
    out.append("HTTP/1.1 ");
    append_number(out, status);
    out.append(" Status\r\n");
  }
  out.append(date_line);
  if (!framing.keep_alive) {
    out.append("Connection: close\r\n");
  } else if (!framing.http11) {
    out.append("Connection: keep-alive\r\n");
  }
}

void append_body_fields(std::string& out, std::string_view content_type, std::size_t body_bytes) {
  out.append("Content-Type: ").append(content_type).append("\r\nContent-Length: ");
  append_number(out, static_cast<std::int64_t>(body_bytes));
  out.append("\r\n\r\n");
}

void append_call_id(std::string& out, CallId call) {
  if (!call) return;
  out.append("Ember-Call-Id: ");
  append_id(out, call, CallIdTag::kPrefix);
  out.append("\r\n");
}

void append_call_fields(std::string& out, const CallReport& report) {
  append_call_id(out, report.call);
  if (report.container) {
    out.append("Ember-Container-Id: ");
    append_id(out, report.container, ContainerIdTag::kPrefix);
    out.append("\r\n");
  }
  out.append(report.cold ? "Ember-Cold: true\r\n" : "Ember-Cold: false\r\n");
  out.append("Ember-Cost-Usd: ");
  append_money(out, report.cost);
  out.append("\r\nEmber-Start-Cost-Usd: ");
  append_money(out, report.start_cost);
  if (!report.gpu.empty()) out.append("\r\nEmber-Gpu: ").append(report.gpu);
  out.append("\r\nEmber-Attempt: ");
  append_number(out, report.attempt);
  out.append("\r\nServer-Timing: queue;dur=");
  append_ms(out, report.queued_us);
  out.append(", boot;dur=");
  append_ms(out, report.boot_ms * 1000);
  out.append(", load;dur=");
  append_ms(out, report.load_ms * 1000);
  out.append(", execute;dur=");
  append_ms(out, report.execute_us);
  out.append(", total;dur=");
  append_ms(out, report.total_us);
  out.append("\r\n");
}

std::string_view content_type_of(BodyFormat format) {
  switch (format) {
    case BodyFormat::none:
    case BodyFormat::json:
      return "application/json";
    case BodyFormat::pickle:
      return "application/x-ember-pickle";
    case BodyFormat::bytes:
      return "application/octet-stream";
  }
  return "application/octet-stream";
}

std::string date_line(Time now) {
  const std::time_t seconds = now.us / 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  // strftime would follow the locale.
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::array<char, 64> line;
  const int size =
      std::snprintf(line.data(), line.size(), "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
                    kDays[parts.tm_wday], parts.tm_mday, kMonths[parts.tm_mon],
                    parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return {line.data(), static_cast<std::size_t>(size)};
}

}  // namespace ember

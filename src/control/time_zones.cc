#include "control/time_zones.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/civil.h"

namespace ember {
namespace {

constexpr std::size_t kMaxFileBytes = 256u << 10;
constexpr std::size_t kMaxChanges = 5000;
constexpr std::size_t kHeaderBytes = 44;
constexpr std::int64_t kSecondsPerDay = 86'400;
constexpr std::int64_t kMostOffset = 26 * 3600;
constexpr std::int64_t kMostSeconds = 100'000'000'000;  // three thousand years either way
constexpr int kMostRuleHours = 167;

Error damaged(std::string_view what) {
  return {ErrorCode::internal, "no file of a time zone: " + std::string(what)};
}

Time seconds_to_time(std::int64_t seconds) { return {seconds * 1'000'000}; }

bool is_leap(std::int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

// Takes from the front what is there; what is not fails the whole.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : rest_(bytes) {}

  std::string_view take(std::size_t count) {
    if (count > rest_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  // Big-endian, signed.
  std::int64_t integer(std::size_t width) {
    std::uint64_t value = 0;
    const std::string_view digits = take(width);
    for (const char c : digits) value = value << 8 | static_cast<unsigned char>(c);
    if (width == 4) return static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
    return static_cast<std::int64_t>(value);
  }
  std::size_t byte() {
    const std::string_view one = take(1);
    return one.empty() ? 0 : static_cast<unsigned char>(one[0]);
  }
  std::string_view rest() const { return rest_; }
  bool failed() const { return failed_; }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

struct Header {
  char version = 0;
  std::size_t utc_flags = 0, standard_flags = 0, leaps = 0, changes = 0, types = 0, letters = 0;
};

Result<Header> read_header(Bytes& bytes) {
  Bytes head(bytes.take(kHeaderBytes));
  if (head.take(4) != "TZif") return damaged("it begins otherwise");
  Header header;
  header.version = static_cast<char>(head.byte());
  head.take(15);
  for (std::size_t* count : {&header.utc_flags, &header.standard_flags, &header.leaps,
                             &header.changes, &header.types, &header.letters}) {
    const std::int64_t value = head.integer(4);
    if (value < 0 || value > static_cast<std::int64_t>(kMaxFileBytes)) return damaged("a count");
    *count = static_cast<std::size_t>(value);
  }
  if (head.failed()) return damaged("its head is cut off");
  return header;
}

std::size_t body_bytes(const Header& header, std::size_t time_bytes) {
  return header.changes * (time_bytes + 1) + header.types * 6 + header.letters +
         header.leaps * (time_bytes + 4) + header.standard_flags + header.utc_flags;
}

// A POSIX rule from the front.
class RuleText {
 public:
  explicit RuleText(std::string_view text) : rest_(text) {}

  bool take(char c) {
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool name() {
    const bool quoted = take('<');
    std::size_t length = 0;
    while (length < rest_.size() && (quoted ? rest_[length] != '>' : is_letter(rest_[length]))) {
      ++length;
    }
    rest_.remove_prefix(length);
    return length >= 3 && (!quoted || take('>'));
  }
  std::optional<int> number(int most) {
    int value = 0;
    std::size_t length = 0;
    for (; length < rest_.size() && is_digit(rest_[length]) && length < 4; ++length) {
      value = value * 10 + (rest_[length] - '0');
    }
    rest_.remove_prefix(length);
    if (length == 0 || value > most) return std::nullopt;
    return value;
  }
  std::optional<std::int64_t> seconds() {
    const bool negative = take('-');
    if (!negative) take('+');
    std::int64_t total = 0;
    std::int64_t unit = 3600;
    for (int most = kMostRuleHours; unit >= 1; most = 59, unit /= 60) {
      const auto part = number(most);
      if (!part) return std::nullopt;
      total += *part * unit;
      if (!take(':')) break;
    }
    return negative ? -total : total;
  }
  std::optional<YearDay> day() {
    YearDay day;
    std::optional<int> first;
    if (take('M')) {
      day.kind = YearDay::Kind::of_month_and_week;
      const auto month = number(12);
      const auto week = take('.') ? number(5) : std::nullopt;
      const auto weekday = take('.') ? number(6) : std::nullopt;
      if (!month || !week || !weekday || *month < 1 || *week < 1) return std::nullopt;
      day.month = *month, day.week = *week, day.weekday = *weekday;
    } else {
      const bool julian = take('J');
      day.kind = julian ? YearDay::Kind::julian : YearDay::Kind::zero_based;
      first = number(365);
      if (!first || (julian && *first < 1)) return std::nullopt;
      day.day = *first;
    }
    if (!take('/')) return day;
    const auto time = seconds();
    if (!time) return std::nullopt;
    day.time_s = *time;
    return day;
  }
  bool at_end() const { return rest_.empty(); }
  bool at(char c) const { return !rest_.empty() && rest_[0] == c; }

 private:
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  std::string_view rest_;
};

bool is_offset(std::int64_t seconds) { return seconds >= -kMostOffset && seconds <= kMostOffset; }

}  // namespace

std::int64_t YearDay::seconds_of(std::int64_t year) const {
  const std::int64_t new_year = days_of({year, 1, 1});
  std::int64_t on = new_year + day;
  if (kind == Kind::julian) {
    on = new_year + day - 1 + (is_leap(year) && day >= 60 ? 1 : 0);  // never the 29th of February
  } else if (kind == Kind::of_month_and_week) {
    const std::int64_t first = days_of({year, month, 1});
    on = first + (weekday - weekday_of(first) + 7) % 7 + (week - 1) * 7;
    const std::int64_t next =
        month == 12 ? days_of({year + 1, 1, 1}) : days_of({year, month + 1, 1});
    if (on >= next) on -= 7;  // the fifth is the last
  }
  return on * kSecondsPerDay + time_s;
}

Result<ZoneRule> parse_zone_rule(std::string_view text) {
  RuleText rest(text);
  ZoneRule rule;
  const Error wrong = damaged("its rule");
  if (!rest.name()) return wrong;
  const auto behind = rest.seconds();  // of UTC, not ahead
  if (!behind || !is_offset(*behind)) return wrong;
  rule.offset_s = -*behind;
  if (rest.at_end()) return rule;
  rule.has_summer = true;
  rule.summer_offset_s = rule.offset_s + 3600;
  if (!rest.name()) return wrong;
  if (!rest.at(',')) {
    const auto summer = rest.seconds();
    if (!summer || !is_offset(*summer)) return wrong;
    rule.summer_offset_s = -*summer;
  }
  const auto begin = rest.take(',') ? rest.day() : std::nullopt;
  const auto end = rest.take(',') ? rest.day() : std::nullopt;
  if (!begin || !end || !rest.at_end()) return wrong;
  rule.summer_begin = *begin;
  rule.summer_end = *end;
  return rule;
}

Result<FileZone> FileZone::parse(std::string_view text) {
  if (text.size() > kMaxFileBytes) return damaged("it is too large");
  Bytes bytes(text);
  const auto old = read_header(bytes);
  if (!old) return old.error();
  if (old->version < '2') return damaged("it is of the first version");
  bytes.take(body_bytes(*old, 4));
  const auto header = read_header(bytes);
  if (!header) return header.error();
  if (header->changes > kMaxChanges || header->types == 0) return damaged("its counts");
  if (header->leaps > 0) return damaged("it counts leap seconds");
  Bytes body(bytes.take(body_bytes(*header, 8)));
  std::vector<std::int64_t> times;
  for (std::size_t i = 0; i < header->changes; ++i) times.push_back(body.integer(8));
  const std::string_view indexes = body.take(header->changes);
  std::vector<std::int64_t> offsets;
  for (std::size_t i = 0; i < header->types; ++i) {
    offsets.push_back(body.integer(4));
    body.take(2);  // whether it is summer, and its name
    if (!is_offset(offsets.back())) return damaged("an offset");
  }
  if (bytes.failed() || body.failed()) return damaged("it is cut off");
  FileZone zone;
  zone.first_offset_s_ = offsets[0];
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto index = static_cast<unsigned char>(indexes[i]);
    if (index >= offsets.size() || (i > 0 && times[i] <= times[i - 1])) return damaged("a change");
    if (times[i] > kMostSeconds) break;
    if (times[i] < -kMostSeconds) {
      zone.first_offset_s_ = offsets[index];
    } else {
      zone.changes_.push_back({seconds_to_time(times[i]), offsets[index]});
    }
  }
  std::string_view footer = bytes.rest();
  if (footer.size() < 2 || footer.front() != '\n' || footer.back() != '\n') {
    return damaged("its end");
  }
  footer = footer.substr(1, footer.size() - 2);
  if (footer.empty()) return zone;
  auto rule = parse_zone_rule(footer);
  if (!rule) return std::move(rule).error();
  zone.rule_ = *rule;
  return zone;
}

ZoneSpan FileZone::span_at(Time time) const {
  const auto next = std::ranges::upper_bound(changes_, time, {}, &Change::at);
  ZoneSpan span;
  span.offset_s = first_offset_s_;
  if (next != changes_.begin()) {
    span.begin = std::prev(next)->at;
    span.offset_s = std::prev(next)->offset_s;
  }
  if (next != changes_.end()) {
    span.end = next->at;
    return span;
  }
  return rule_ ? span_by_rule(time, span.begin) : span;
}

ZoneSpan FileZone::span_by_rule(Time time, Time least) const {
  ZoneSpan span;
  span.begin = least;
  span.offset_s = rule_->offset_s;
  const std::int64_t seconds = time.us / 1'000'000;
  if (!rule_->has_summer || seconds > kMostSeconds || seconds < -kMostSeconds) return span;
  const std::int64_t year = civil_of(seconds / kSecondsPerDay).year;
  std::vector<Change> changes;
  for (std::int64_t y = year - 2; y <= year + 2; ++y) {
    changes.push_back({seconds_to_time(rule_->summer_end.seconds_of(y) - rule_->summer_offset_s),
                       rule_->offset_s});
    changes.push_back({seconds_to_time(rule_->summer_begin.seconds_of(y) - rule_->offset_s),
                       rule_->summer_offset_s});
  }
  std::ranges::stable_sort(changes, {}, &Change::at);
  const auto next = std::ranges::upper_bound(changes, time, {}, &Change::at);
  if (next != changes.begin()) {
    span.begin = std::max(least, std::prev(next)->at);
    span.offset_s = std::prev(next)->offset_s;
  }
  if (next != changes.end()) span.end = next->at;
  return span;
}

Result<const TimeZone*> TimeZones::find(const std::string& name) {
  if (const auto found = known_.find(name); found != known_.end()) return found->second.get();
  const Error unknown{ErrorCode::invalid_argument,
                      "there is no time zone \"" + name + "\" in " + directory_ +
                          "; they look like \"Europe/Berlin\", and `timedatectl list-timezones` "
                          "lists them"};
  if (name == "UTC") return known_.emplace(name, std::make_unique<UtcZone>()).first->second.get();
  if (!is_zone_name(name)) return unknown;
  std::error_code error;
  if (!std::filesystem::is_directory(directory_, error)) {
    return {ErrorCode::invalid_argument, "this machine has no time zones but UTC; install tzdata"};
  }
  if (!std::filesystem::is_regular_file(directory_ + "/" + name, error)) return unknown;
  std::ifstream file(directory_ + "/" + name, std::ios::binary);
  std::string bytes(kMaxFileBytes + 1, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  auto zone = FileZone::parse(bytes);
  if (!zone) return unknown;
  return known_.emplace(name, std::make_unique<FileZone>(std::move(*zone))).first->second.get();
}

}  // namespace ember

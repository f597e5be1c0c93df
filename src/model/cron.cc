#include "model/cron.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "base/civil.h"

namespace ember {
namespace {

constexpr std::size_t kMaxText = 200;
constexpr std::size_t kFields = 5;
constexpr std::int64_t kMinutesPerDay = 24 * 60;
// By then every month, leap day and day of the week has met every other.
constexpr std::int64_t kDaysSearched = 41 * 366;
constexpr std::uint64_t kAllHours = (1ull << 24) - 1;

struct Names {
  std::string_view text;  // three letters each
  int first = 0;          // what the first one stands for
};

struct FieldRule {
  std::string_view name;
  int least = 0, most = 0;
  Names names = {};
};

constexpr std::array<FieldRule, kFields> kRules{{
    {"minute", 0, 59, {}},
    {"hour", 0, 23, {}},
    {"day of the month", 1, 31, {}},
    {"month", 1, 12, {"janfebmaraprmayjunjulaugsepoctnovdec", 1}},
    {"day of the week", 0, 7, {"sunmontuewedthufrisat", 0}},
}};

struct Alias {
  std::string_view name, text;
};

constexpr Alias kAliases[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
};

std::string lower(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lowered;
}

Error wrong(const FieldRule& rule, std::string_view part) {
  std::string message = "the ";
  message.append(rule.name).append(" '").append(part).append("' is not one: ");
  message += "it has values from " + std::to_string(rule.least) + " to " +
             std::to_string(rule.most) + ", lists (1,2), ranges (1-5) and steps (*/2)";
  return {ErrorCode::invalid_argument, std::move(message)};
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value < 0) {
    return std::nullopt;
  }
  return value;
}

std::optional<int> value_of(const FieldRule& rule, std::string_view text) {
  if (const auto named = number(text)) {
    if (*named < rule.least || *named > rule.most) return std::nullopt;
    return named;
  }
  if (text.size() != 3) return std::nullopt;
  const auto at = rule.names.text.find(text);
  if (at == std::string_view::npos || at % 3 != 0) return std::nullopt;
  return rule.names.first + static_cast<int>(at / 3);
}

struct Range {
  int first = 0, last = 0, step = 1;
};

std::optional<Range> range_of(const FieldRule& rule, std::string_view part) {
  Range range{rule.least, rule.most, 1};
  const auto slash = part.find('/');
  const std::string_view values = part.substr(0, slash);
  if (slash != std::string_view::npos) {
    const auto step = number(part.substr(slash + 1));
    if (!step || *step < 1) return std::nullopt;
    range.step = std::min(*step, rule.most + 1);
  }
  if (values == "*") return range;
  const auto dash = values.find('-');
  const auto first = value_of(rule, values.substr(0, dash));
  if (!first) return std::nullopt;
  range.first = *first;
  if (dash != std::string_view::npos) {
    const auto last = value_of(rule, values.substr(dash + 1));
    if (!last) return std::nullopt;
    // A week's last day may be its Sunday.
    const bool ends_on_sunday = rule.most == 7 && *last == 0 && *first > 0;
    range.last = ends_on_sunday ? 7 : *last;
  } else if (slash == std::string_view::npos) {
    range.last = *first;
  }
  if (range.last < range.first) return std::nullopt;
  return range;
}

// A bit for each value.
Result<std::uint64_t> parse_field(const FieldRule& rule, std::string_view field) {
  std::uint64_t bits = 0;
  while (true) {
    const auto comma = field.find(',');
    const std::string_view part = field.substr(0, comma);
    const auto range = range_of(rule, part);
    if (!range) return wrong(rule, part);
    for (int value = range->first; value <= range->last; value += range->step) {
      bits |= 1ull << value;
    }
    if (comma == std::string_view::npos) return bits;
    field.remove_prefix(comma + 1);
  }
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const auto begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    const auto end = std::min(text.find_first_of(" \t"), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

bool has(std::uint64_t bits, std::int64_t value) { return (bits >> value & 1) != 0; }

std::int64_t day_of(WallMinute minute) {
  const std::int64_t day = minute.count / kMinutesPerDay;
  return minute.count % kMinutesPerDay < 0 ? day - 1 : day;
}

}  // namespace

Result<Cron> Cron::parse(std::string_view text) {
  if (text.size() > kMaxText) {
    return {ErrorCode::invalid_argument, "a cron expression has at most 200 characters"};
  }
  std::string lowered = lower(text);
  for (const Alias& alias : kAliases) {
    if (lowered == alias.name) lowered = alias.text;
  }
  const auto words = words_of(lowered);
  if (words.size() != kFields) {
    return {ErrorCode::invalid_argument,
            "a cron expression has five fields, minute, hour, day of the month, month and day of "
            "the week, such as \"0 6 * * *\", or is one of @hourly, @daily, @weekly, @monthly and "
            "@yearly"};
  }
  Cron cron;
  std::uint64_t* const fields[] = {&cron.minutes_, &cron.hours_, &cron.month_days_, &cron.months_,
                                   &cron.week_days_};
  for (std::size_t i = 0; i < kFields; ++i) {
    auto bits = parse_field(kRules[i], words[i]);
    if (!bits) return std::move(bits).error();
    *fields[i] = *bits;
  }
  if (has(cron.week_days_, 7)) cron.week_days_ |= 1;  // both are Sunday
  cron.any_month_day_ = words[2].starts_with('*');
  cron.any_week_day_ = words[4].starts_with('*');
  if (!cron.first_from({})) {
    return {ErrorCode::invalid_argument,
            "it can never fire: no such month has such a day; see its third and fourth field"};
  }
  return cron;
}

bool Cron::is_every_hour() const { return hours_ == kAllHours; }

bool Cron::is_day(std::int64_t day) const {
  const CivilDay date = civil_of(day);
  if (!has(months_, date.month)) return false;
  const bool by_month = has(month_days_, date.day);
  const bool by_week = has(week_days_, weekday_of(day));
  return any_month_day_ || any_week_day_ ? by_month && by_week : by_month || by_week;
}

bool Cron::matches(WallMinute minute) const {
  const std::int64_t day = day_of(minute);
  const std::int64_t of_day = minute.count - day * kMinutesPerDay;
  return has(minutes_, of_day % 60) && has(hours_, of_day / 60) && is_day(day);
}

std::optional<WallMinute> Cron::first_from(WallMinute from) const {
  const std::int64_t first_day = day_of(from);
  for (std::int64_t day = first_day; day < first_day + kDaysSearched; ++day) {
    if (!is_day(day)) continue;
    const std::int64_t start = day * kMinutesPerDay;
    std::int64_t of_day = std::max<std::int64_t>(from.count - start, 0);
    while (of_day < kMinutesPerDay) {
      if (!has(hours_, of_day / 60)) {
        of_day = (of_day / 60 + 1) * 60;
      } else if (!has(minutes_, of_day % 60)) {
        ++of_day;
      } else {
        return WallMinute{start + of_day};
      }
    }
  }
  return std::nullopt;
}

}  // namespace ember

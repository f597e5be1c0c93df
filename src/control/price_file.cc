#include "control/price_file.h"

#include <fstream>
#include <limits>
#include <sstream>

#include "control/json.h"

namespace ember {
namespace {

constexpr std::size_t kMaxFileBytes = 16u << 20;
constexpr std::int64_t kFormat = 1;

std::uint32_t small_count(Fields& fields, std::string_view name, std::int64_t fallback) {
  const std::int64_t value = fields.integer_or(name, fallback);
  const bool fits = value >= 0 && value <= std::numeric_limits<std::int32_t>::max();
  if (!fits) fields.fail(name, "is out of range");
  return fits ? static_cast<std::uint32_t>(value) : 0;
}

Result<Markup> read_markup(const JsonValue& value, const std::string& path) {
  Fields fields(value, path + ".");
  Markup markup;
  markup.provider = fields.text("provider");
  markup.low_percent = small_count(fields, "low_percent", 0);
  markup.high_percent = small_count(fields, "high_percent", 0);
  const auto valid_from = parse_date(fields.text("valid_from"));
  if (!valid_from) fields.fail("valid_from", "must be a day such as 2026-11-25");
  markup.valid_from = valid_from.value_or(Date{});
  markup.source = fields.text("source");
  markup.note = fields.text_or("note", "");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  return markup;
}

template <class Read>
Result<> add_all(PriceBook& book, const JsonValue* list, std::string_view name, Read read) {
  for (std::size_t i = 0; list && i < list->size(); ++i) {
    const std::string path = std::string(name) + "[" + std::to_string(i) + "]";
    auto row = read((*list)[i], path);
    if (!row) return std::move(row).error();
    auto added = book.add(std::move(row).value());
    if (!added) return std::move(added).error().within(path);
  }
  return Ok{};
}

JsonValue to_json(const PriceRow& row) {
  JsonValue value = {{"provider", row.provider}, {"sku", row.sku}};
  if (!row.region.empty()) value["region"] = row.region;
  value["meter"] = meter_name(row.meter);
  if (row.meter == Meter::gpu) value["gpu"] = row.gpu;
  value["count"] = row.count;
  value["kind"] = price_kind_name(row.kind);
  value["usd"] = Money{row.price.nano_usd}.decimal();
  value["valid_from"] = row.valid_from.text();
  value["source"] = row.source;
  value["fetched_at"] = row.fetched_at.text();
  value["note"] = row.note;
  value["assumed"] = row.assumed;
  return value;
}

JsonValue to_json(const Markup& markup) {
  return {{"provider", markup.provider},
          {"low_percent", markup.low_percent},
          {"high_percent", markup.high_percent},
          {"valid_from", markup.valid_from.text()},
          {"source", markup.source},
          {"note", markup.note}};
}

}  // namespace

Result<PriceRow> read_price_row(const JsonValue& value, const std::string& path) {
  Fields fields(value, path + ".");
  PriceFields row;
  row.provider = fields.text("provider");
  row.sku = fields.text_or("sku", "");
  row.region = fields.text_or("region", "");
  row.meter = fields.text_or("meter", row.meter);
  row.gpu = fields.text_or("gpu", "");
  row.kind = fields.text("kind");
  row.usd = fields.text("usd");
  row.valid_from = fields.text("valid_from");
  row.source = fields.text("source");
  row.fetched_at = fields.text("fetched_at");
  row.note = fields.text_or("note", "");
  row.count = small_count(fields, "count", row.count);
  row.assumed = fields.flag_or("assumed", false);
  if (auto read = fields.finish(); !read) return std::move(read).error();
  auto parsed = parse_price_row(row);
  if (!parsed) return std::move(parsed).error().within(path);
  return parsed;
}

Result<PriceBook> parse_price_book(std::string_view text, Date today) {
  auto document = parse_json(text, "the price book", kMaxFileBytes);
  if (!document) return std::move(document).error();
  Fields fields(*document, "");
  if (fields.integer_or("format", 0) != kFormat) fields.fail("format", "must be 1");
  const JsonValue* prices = fields.array("prices");
  const JsonValue* markups = fields.array("markups");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  PriceBook book;
  if (auto added = add_all(book, prices, "prices", read_price_row); !added) {
    return std::move(added).error();
  }
  if (auto added = add_all(book, markups, "markups", read_markup); !added) {
    return std::move(added).error();
  }
  if (auto complete = book.check_complete(today); !complete) return std::move(complete).error();
  return book;
}

Result<PriceBook> read_price_file(const std::string& path, Date today) {
  std::ifstream file(path);
  if (!file) return {ErrorCode::not_found, "the price book " + path + " cannot be read"};
  std::stringstream text;
  text << file.rdbuf();
  auto book = parse_price_book(text.str(), today);
  if (!book) return std::move(book).error().within(path);
  return book;
}

std::string price_book_json(const PriceBook& book) {
  JsonValue prices = JsonValue::array(), markups = JsonValue::array();
  for (const PriceRow& row : book.rows()) prices.push_back(to_json(row));
  for (const Markup& markup : book.markups()) markups.push_back(to_json(markup));
  return dump_json(
      {{"format", kFormat}, {"prices", std::move(prices)}, {"markups", std::move(markups)}});
}

}  // namespace ember

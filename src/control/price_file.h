// Reads the price book's file, docs/reference/prices.md, and writes the book as that document.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "billing/price_book.h"
#include "control/json.h"

namespace ember {

// `path` is how an error names the row.
Result<PriceRow> read_price_row(const JsonValue& value, const std::string& path);

// Names the row that is wrong. The book is checked to have a local rate for everything.
Result<PriceBook> parse_price_book(std::string_view text, Date today);
Result<PriceBook> read_price_file(const std::string& path, Date today);
std::string price_book_json(const PriceBook& book);

}  // namespace ember

#include "billing/price_book.h"

#include <gtest/gtest.h>

#include "model/gpu.h"

namespace ember {
namespace {

PriceFields fields() {
  PriceFields fields;
  fields.provider = "modal";
  fields.sku = "L4";
  fields.gpu = "L4";
  fields.kind = "serverless";
  fields.usd = "0.55";
  fields.valid_from = "2026-01-01";
  fields.source = "guide";
  fields.fetched_at = "2026-11-25";
  return fields;
}

PriceRow row(std::string provider, std::string usd, std::string valid_from = "2026-01-01") {
  PriceFields result = fields();
  result.provider = std::move(provider);
  result.usd = std::move(usd);
  result.valid_from = std::move(valid_from);
  return parse_price_row(result).value();
}

Date day(std::string_view text) { return *parse_date(text); }

std::string why_not(PriceBook& book, PriceRow row) {
  const Result<> added = book.add(std::move(row));
  return added ? "" : added.error().message;
}

TEST(ParsePrice, ReadsDecimalTextExactly) {
  EXPECT_EQ(parse_price("0.55")->nano_usd, 550'000'000);
  EXPECT_EQ(parse_price("0.031611")->nano_usd, 31'611'000);
  EXPECT_EQ(parse_price("12")->nano_usd, 12'000'000'000);
  EXPECT_EQ(parse_price("0.000000001")->nano_usd, 1);
  EXPECT_EQ(parse_price("0")->nano_usd, 0);
}

TEST(ParsePrice, RefusesWhatIsNotAPlainDecimal) {
  for (const char* text : {"", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.0000000001", "1.2.3",
                           " 1", "99999999999999999999"}) {
    EXPECT_FALSE(parse_price(text)) << text;
  }
}

TEST(ParsePriceRow, NamesTheFieldThatIsWrong) {
  const auto message = [](auto change) {
    PriceFields wrong = fields();
    change(wrong);
    const auto parsed = parse_price_row(wrong);
    return parsed.ok() ? std::string() : parsed.error().message;
  };
  EXPECT_EQ(message([](PriceFields&) {}), "");
  EXPECT_NE(message([](auto& f) { f.meter = "tape"; }).find("meter \"tape\""), std::string::npos);
  EXPECT_NE(message([](auto& f) { f.kind = "rent"; }).find("kind \"rent\""), std::string::npos);
  EXPECT_NE(message([](auto& f) { f.usd = "0,5"; }).find("\"0,5\""), std::string::npos);
  EXPECT_NE(message([](auto& f) { f.valid_from = "2030"; }).find("valid_from"), std::string::npos);
  EXPECT_NE(message([](auto& f) { f.fetched_at = "?"; }).find("fetched_at"), std::string::npos);
}

TEST(PriceBook, RefusesRowsThatBreakItsRules) {
  PriceBook book;
  EXPECT_NE(why_not(book, row("modal", "0")).find("greater than 0"), std::string::npos);
  PriceRow unknown = row("modal", "1");
  unknown.gpu = "L5";
  EXPECT_NE(why_not(book, unknown).find("unknown GPU type \"L5\""), std::string::npos);
  unknown.gpu = "l4";  // known, but not by its canonical name
  EXPECT_NE(why_not(book, unknown).find("unknown GPU type \"l4\""), std::string::npos);
  PriceRow unsourced = row("modal", "1");
  unsourced.source.clear();
  EXPECT_NE(why_not(book, unsourced).find("needs a source"), std::string::npos);
  PriceRow core = row("local", "1");
  core.meter = Meter::cpu;
  EXPECT_NE(why_not(book, core).find("only a GPU price"), std::string::npos);
  PriceRow none = row("modal", "1");
  none.count = 0;
  EXPECT_NE(why_not(book, none).find("count"), std::string::npos);
  PriceRow assumed = row("modal", "1");
  assumed.assumed = true;
  EXPECT_NE(why_not(book, assumed).find("only a local rate"), std::string::npos);
  EXPECT_TRUE(book.rows().empty());
}

TEST(PriceBook, RefusesTheSameOfferTwiceOnOneDay) {
  PriceBook book;
  EXPECT_EQ(why_not(book, row("modal", "0.55")), "");
  EXPECT_NE(why_not(book, row("modal", "0.60")).find("twice"), std::string::npos);
  EXPECT_EQ(why_not(book, row("modal", "0.60", "2026-02-01")), "");
}

TEST(PriceBook, LetsEgressBeFree) {
  PriceBook book;
  PriceRow egress = row("local", "0");
  egress.meter = Meter::egress;
  egress.gpu.clear();
  EXPECT_EQ(why_not(book, egress), "");
}

TEST(PriceBook, BillsTheNewestLocalRateThatIsValid) {
  PriceBook book;
  ASSERT_TRUE(book.add(row("local", "2", "2026-02-01")));
  ASSERT_TRUE(book.add(row("local", "1", "2026-01-01")));
  ASSERT_TRUE(book.add(row("local", "3", "2026-03-01")));
  EXPECT_EQ(book.local(Meter::gpu, "L4", day("2025-12-31")), nullptr);
  EXPECT_EQ(book.local(Meter::gpu, "L4", day("2026-01-31"))->price, *parse_price("1"));
  EXPECT_EQ(book.local(Meter::gpu, "L4", day("2026-02-01"))->price, *parse_price("2"));
  EXPECT_EQ(book.local(Meter::gpu, "L4", day("2027-01-01"))->price, *parse_price("3"));
  EXPECT_EQ(book.local(Meter::gpu, "H100", day("2027-01-01")), nullptr);
}

TEST(PriceBook, PrefersARateThatSomebodySetToAnAssumedOne) {
  PriceBook book;
  PriceRow assumed = row("local", "0.55");
  assumed.assumed = true;
  PriceRow set = row("local", "0.30");
  set.sku = "ours";
  ASSERT_TRUE(book.add(assumed));
  EXPECT_TRUE(book.assumes(day("2026-01-01")));
  ASSERT_TRUE(book.add(set));
  EXPECT_EQ(book.local(Meter::gpu, "L4", day("2026-01-01"))->price, *parse_price("0.30"));
  EXPECT_FALSE(book.assumes(day("2026-01-01")));
}

TEST(PriceBook, ComparesTheNewestRowOfEachOfferCheapestFirst) {
  PriceBook book;
  ASSERT_TRUE(book.add(row("local", "0.10")));
  ASSERT_TRUE(book.add(row("runpod", "0.68")));
  ASSERT_TRUE(book.add(row("modal", "0.40", "2026-01-01")));
  ASSERT_TRUE(book.add(row("modal", "0.80", "2026-06-01")));
  PriceRow spot = row("modal", "0.20");
  spot.kind = PriceKind::spot;
  ASSERT_TRUE(book.add(spot));
  ASSERT_TRUE(book.add(row("beam", "0.01", "2027-01-01")));  // not yet
  std::string seen;
  for (const PriceRow* found : book.elsewhere("L4", day("2026-07-01"))) {
    seen += found->provider + " " + std::string(price_kind_name(found->kind)) + " " +
            Money{found->price.nano_usd}.decimal() + "\n";
  }
  EXPECT_EQ(seen,
            "modal spot 0.200000000\n"
            "runpod serverless 0.680000000\n"
            "modal serverless 0.800000000\n");
  EXPECT_TRUE(book.elsewhere("T4", day("2026-07-01")).empty());
}

TEST(PriceBook, SaysWhichLocalRatesAreMissing) {
  PriceBook book;
  ASSERT_TRUE(book.add(row("local", "0.55")));
  const Result<> checked = book.check_complete(day("2026-01-01"));
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().message.find("H100"), std::string::npos);
  EXPECT_NE(checked.error().message.find("cpu, memory, disk, egress"), std::string::npos);
  EXPECT_EQ(checked.error().message.find("L4,"), std::string::npos);
}

TEST(PriceBook, KeepsMarkupsWithTheirRange) {
  PriceBook book;
  EXPECT_TRUE(book.add(
      Markup{.provider = "replicate", .low_percent = 20, .high_percent = 40, .source = "guide"}));
  EXPECT_FALSE(book.add(
      Markup{.provider = "replicate", .low_percent = 50, .high_percent = 40, .source = "guide"}));
  EXPECT_FALSE(book.add(Markup{.low_percent = 1, .high_percent = 2, .source = "guide"}));
  EXPECT_EQ(book.markups().size(), 1u);
}

TEST(AmountOf, PricesEachMeterByItsOwnUnit) {
  const PricePerHour dollar{1'000'000'000};
  const auto amount = [&](Meter meter, std::int64_t quantity, std::int64_t units) {
    UsageRow usage;
    usage.meter = meter;
    usage.quantity = quantity;
    usage.units = units;
    return amount_of(usage, dollar).decimal();
  };
  constexpr std::int64_t kHourMs = 3'600'000;
  EXPECT_EQ(amount(Meter::gpu, kHourMs, 2), "2.000000000");
  EXPECT_EQ(amount(Meter::cpu, kHourMs, 500), "0.500000000");
  EXPECT_EQ(amount(Meter::memory, kHourMs, 3ll << 30), "3.000000000");
  EXPECT_EQ(amount(Meter::egress, 250'000'000, 1), "0.250000000");
}

TEST(AmountOf, PricesAShareOfADeviceByItsPartOfTheMemoryRoundedOnce) {
  UsageRow row;
  row.meter = Meter::gpu;
  row.quantity = 3'600'000;
  row.units = 1;
  const PricePerHour dollar{1'000'000'000};
  EXPECT_EQ(amount_of(row, dollar).decimal(), "1.000000000");
  row.share_bytes = 6'000'000'000;
  row.device_bytes = 24'000'000'000;
  EXPECT_EQ(amount_of(row, dollar).decimal(), "0.250000000");
  row.share_bytes = 8'000'000'000;
  EXPECT_EQ(amount_of(row, dollar).decimal(), "0.333333333");
}

TEST(Date, ReadsAndWritesRealDaysOnly) {
  for (const char* text : {"1970-01-01", "2000-02-29", "2026-11-25", "2030-12-31", "1969-12-31"}) {
    ASSERT_TRUE(parse_date(text)) << text;
    EXPECT_EQ(parse_date(text)->text(), text);
  }
  for (const char* text : {"2026-02-29", "1900-02-29", "2026-13-01", "2026-00-10", "2026-1-01",
                           "2026/01/01", "2026-01-0a", "2026-01-00", "", "2026-04-31"}) {
    EXPECT_FALSE(parse_date(text)) << text;
  }
  EXPECT_EQ(parse_date("1970-01-01")->days, 0);
  EXPECT_EQ(parse_date("2026-11-25")->days, 20'782);
}

TEST(Date, OfATimeIsItsUtcDay) {
  EXPECT_EQ(date_of(Time::from_ms(0)).text(), "1970-01-01");
  EXPECT_EQ(date_of(Time::from_ms(-1)).text(), "1969-12-31");
  EXPECT_EQ(date_of(Time::from_ms(86'399'999)).text(), "1970-01-01");
  EXPECT_EQ(date_of(Time::from_ms(86'400'000)).text(), "1970-01-02");
}

}  // namespace
}  // namespace ember

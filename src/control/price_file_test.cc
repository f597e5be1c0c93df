#include "control/price_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/json.h"
#include "control/tariff.h"

namespace ember {
namespace {

using testing::HasSubstr;

const Date kToday = *parse_date("2026-11-25");

TEST(PriceFile, ReadsTheShippedBookAndWritesTheSame) {
  const auto book = read_price_file(EMBER_PRICE_FILE, kToday);
  ASSERT_TRUE(book.ok()) << book.error().message;
  EXPECT_NE(book->local(Meter::gpu, "L4", kToday), nullptr);
  EXPECT_FALSE(book->elsewhere("H100", kToday).empty());
  const std::string text = price_book_json(*book);
  const auto again = parse_price_book(text, kToday);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->rows().size(), book->rows().size());
  EXPECT_EQ(price_book_json(*again), text);
}

TEST(PriceFile, NamesTheRowThatIsWrong) {
  const auto refusal = [](const std::string& text) {
    const auto book = parse_price_book(text, kToday);
    return book.ok() ? "accepted" : book.error().message;
  };
  EXPECT_THAT(refusal("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(R"({"format": 2, "prices": [], "markups": []})"), HasSubstr("format"));
  EXPECT_THAT(refusal(R"({"format": 1, "prices": [{"provider": "a"}]})"), HasSubstr("prices[0]"));
  EXPECT_THAT(refusal(R"({"format": 1, "prices": [{"provider": "a", "kind": "spot", "gpu": "L4",
      "usd": "-1", "valid_from": "2020-01-01", "source": "s", "fetched_at": "2020-01-01"}]})"),
              HasSubstr("prices[0]"));
  EXPECT_NE(refusal(R"({"format": 1, "prices": []})"), "accepted") << "no local rates";
  EXPECT_EQ(read_price_file("/nonexistent", kToday).error().code, ErrorCode::not_found);
}

Tariff tariff() {
  Tariff tariff;
  tariff.gpu_type = "L4";
  tariff.gpu_count = 2;
  tariff.cpu_millicores = 500;
  tariff.memory_bytes = 2ll << 30;
  tariff.gpu.price = {3'600'000'000};  // a micro-dollar a millisecond
  tariff.cpu.price = {7'200'000'000};
  tariff.memory.price = {3'600'000'000};
  tariff.cpu.units = 1000;
  tariff.memory.units = 1ll << 30;
  tariff.egress.price = {90'000'000};
  return tariff;
}

TEST(Tariff, CostsTheSameByTheHourAndByTheLedger) {
  const Tariff rates = tariff();
  EXPECT_EQ(rates.cost(Duration::seconds(3600)), Money{3'600'000'000ll * (2 + 1 + 2)});
  Money sum;
  for (const auto& [meter, units] : {std::pair{Meter::gpu, 2ll}, std::pair{Meter::cpu, 500ll},
                                     std::pair{Meter::memory, 2ll << 30}}) {
    UsageRow row;
    row.meter = meter;
    row.quantity = 250;
    row.units = units;
    sum += rates.amount(row);
  }
  EXPECT_EQ(sum, rates.cost(Duration::milliseconds(250)));
  EXPECT_EQ(rates.cost(Duration{0}), Money{0});
  EXPECT_EQ(rates.cost(Duration{1}), Money{5}) << "a microsecond is not nothing";
}

TEST(Tariff, PricesEgressByTheGigabyteAndNotByTheHour) {
  const Tariff rates = tariff();
  UsageRow row;
  row.meter = Meter::egress;
  row.quantity = 2'500'000'000;
  row.units = 1;
  EXPECT_EQ(rates.amount(row), Money{225'000'000});
}

TEST(Tariff, SaysThatAGpuIsSimulated) {
  Tariff rates = tariff();
  EXPECT_EQ(rates.gpu_text(), "L4:2");
  rates.simulated = true;
  EXPECT_EQ(rates.gpu_text(), "L4:2 (simulated)");
  EXPECT_EQ(Tariff{}.gpu_text(), "");
}

}  // namespace
}  // namespace ember

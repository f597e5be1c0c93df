// A good state and one that is damaged in each way: each damage is found, and named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>

#include "app/doctor_role.h"
#include "billing/price_book.h"
#include "billing/usage_meter.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace ember {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

constexpr Time kNoon{1'764'072'000'000'000};  // 2025-11-25 12:00 UTC
constexpr Duration kWindow = Duration::seconds(60);
constexpr Duration kLife = Duration::milliseconds(200'123);
constexpr PricePerHour kPrice{812'345'678};
constexpr std::uint64_t kContainers = 40;

class StateDoctor : public testing::Test {
 protected:
  StateDoctor() {
    std::string pattern = testing::TempDir() + "ember-doctor-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    path_ = directory_ + "/state.db";
    Snapshot snapshot;
    store_ = open_sqlite_store(directory_, snapshot).value();
    apply(
        {AppRecord{AppId{1}, "docs", false, false, 1, kNoon},
         VersionRecord{
             AppId{1}, 1, kNoon, "src-1", "deploy", {{FunctionId{7}, PoolId{101}, "read", "{}"}}}});
    for (std::uint64_t id = 1; id <= kContainers; ++id) apply(life(ContainerId{id}));
  }
  ~StateDoctor() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  void apply(Batch batch) {
    std::promise<Result<>> done;
    store_->apply(std::move(batch), [&](Result<> result) { done.set_value(std::move(result)); });
    ASSERT_TRUE(done.get_future().get().ok());
  }

  static Batch life(ContainerId id) {
    Batch batch{ContainerRecord{id, PoolId{101}, AppId{1}, "read", kNoon, kNoon + kLife, "idle"}};
    const Holding holding{id, PoolId{101}, 1, "L4", 1000, 2ll << 30};
    std::vector<UsageRow> rows;
    UsageMeter meter;
    meter.start(kNoon, Phase::boot, kWindow);
    const auto until = [&](Time at) {
      while (meter.window_over(at)) append_rows(holding, meter.close_window(), rows);
      meter.advance(at);
    };
    until(kNoon + Duration::milliseconds(321));
    meter.set_phase(Phase::idle);
    meter.count_egress(1000);
    until(kNoon + kLife);
    if (const auto last = meter.finish()) append_rows(holding, *last, rows);
    for (const UsageRow& row : rows) {
      LedgerRecord record;
      record.row = row;
      record.app = AppId{1};
      record.app_name = "docs";
      record.function = "read";
      record.price = kPrice;
      record.price_source = "a test";
      record.amount = amount_of(row, kPrice);
      batch.push_back(record);
    }
    return batch;
  }

  // What somebody does to the file while the server is down.
  void damage(const std::string& sql) {
    store_.reset();
    auto database = Database::open(path_);
    ASSERT_TRUE(database.ok());
    const auto done = database->execute("PRAGMA foreign_keys = OFF; " + sql);
    ASSERT_TRUE(done.ok()) << done.error().message;
  }

  std::vector<std::string> troubles() const {
    std::vector<std::string> lines;
    for (const Finding& finding : examine_state(path_)) {
      if (finding.verdict == Verdict::ok) continue;
      EXPECT_FALSE(finding.next_step.empty()) << finding.text;
      lines.push_back(finding.check + ": " + finding.text);
    }
    return lines;
  }
  void expect_found(const testing::Matcher<std::string>& line) const {
    EXPECT_THAT(troubles(), testing::Contains(line));
  }

  std::string directory_, path_;
  std::unique_ptr<Store> store_;
};

const std::string kThird = ContainerId{3}.text();

TEST_F(StateDoctor, FindsNothingWrongWithAGoodStateBesideItsServerAndWithoutIt) {
  EXPECT_THAT(troubles(), testing::IsEmpty());
  apply(life(ContainerId{99}));  // the server goes on
  store_.reset();
  EXPECT_THAT(troubles(), testing::IsEmpty());
  const auto findings = examine_state(path_);
  EXPECT_THAT(findings.back().text,
              AllOf(HasSubstr("the lives of 41 containers"), HasSubstr(" USD")));
  Snapshot snapshot;
  EXPECT_TRUE(open_sqlite_store(directory_, snapshot).ok()) << "it left something in the way";
  EXPECT_EQ(snapshot.epoch, 2u);
}

TEST_F(StateDoctor, LooksAtTheBillsOfLeasesToo) {
  const LeaseRecord lease{LeaseId{77}, KeyId{4}, "alice",         NodeId{2},      {DeviceId{8}},
                          "L4",        kNoon,    kNoon + kWindow, kNoon + kWindow};
  LedgerRecord record;
  record.row.lease = lease.id;
  record.row.meter = Meter::gpu;
  record.row.phase = Phase::leased;
  record.row.window_start = kNoon;
  record.row.window_end = kNoon + kWindow;
  record.row.quantity = kWindow.whole_ms();
  record.row.units = 1;
  record.row.gpu_type = "L4";
  record.app_name = "(leases)";
  record.price = kPrice;
  record.amount = amount_of(record.row, kPrice);
  apply({lease, record});
  EXPECT_THAT(troubles(), testing::IsEmpty());
  EXPECT_THAT(examine_state(path_).back().text, HasSubstr("and 1 leases"));
  damage("UPDATE leases SET until_us = until_us - 1000, ended_us = ended_us - 1000");
  expect_found(HasSubstr("is beyond the lease's end"));
  damage("DELETE FROM leases");
  expect_found(HasSubstr("an entry of no lease"));
}

TEST_F(StateDoctor, ReadsACopyThatNobodyWrites) {
  store_.reset();
  std::filesystem::create_directory(directory_ + "/copy");
  std::filesystem::copy_file(path_, directory_ + "/copy/state.db");
  path_ = directory_ + "/copy/state.db";
  EXPECT_THAT(troubles(), testing::IsEmpty());
}

TEST_F(StateDoctor, FindsAGap) {
  damage("DELETE FROM ledger WHERE container = 3 AND window_start_us = " +
         std::to_string((kNoon + kWindow).us));
  expect_found(AllOf(HasSubstr("ledger: " + kThird), HasSubstr("a gap")));
  EXPECT_THAT(troubles(), Each(Not(HasSubstr(ContainerId{4}.text()))));
}

TEST_F(StateDoctor, FindsAnOverlap) {
  damage(
      "UPDATE ledger SET window_start_us = window_start_us - 1000 WHERE container = 3 AND "
      "window_start_us = " +
      std::to_string((kNoon + kWindow).us));
  expect_found(AllOf(HasSubstr(kThird), HasSubstr("an overlap")));
}

TEST_F(StateDoctor, FindsADoubledEntry) {
  damage(
      "INSERT INTO ledger SELECT container, window_start_us, meter, 'load', window_end_us, pool, "
      "quantity, units, gpu_type, app, app_name, function, tag, price_nano_usd_per_hour, "
      "price_source, amount_nano_usd, simulated, share_bytes, device_bytes, of_lease FROM ledger "
      "WHERE container = 3 AND meter = "
      "'cpu' AND phase = 'idle' AND window_start_us = " +
      std::to_string(kNoon.us));
  expect_found(AllOf(HasSubstr(kThird), HasSubstr("cpu: entries are doubled")));
}

TEST_F(StateDoctor, FindsAMissingEntry) {
  damage("DELETE FROM ledger WHERE container = 3 AND meter = 'memory' AND phase = 'boot'");
  expect_found(AllOf(HasSubstr(kThird), HasSubstr("memory: entries are missing")));
}

TEST_F(StateDoctor, FindsALifeWithoutAnyEntry) {
  damage("DELETE FROM ledger WHERE container = 3");
  expect_found(AllOf(HasSubstr(kThird), HasSubstr("a gap")));
}

TEST_F(StateDoctor, FindsAWrongAmountAndTheSumThatItSpoils) {
  damage(
      "UPDATE ledger SET amount_nano_usd = amount_nano_usd + 1 WHERE container = 3 AND meter = "
      "'gpu' AND phase = 'boot'");
  expect_found(AllOf(HasSubstr(kThird), HasSubstr("gpu, boot: a wrong amount")));
  expect_found(HasSubstr("bills add up to"));
}

TEST_F(StateDoctor, FindsRecordsThatDoNotFitTogether) {
  damage(
      "DELETE FROM containers WHERE id = 3; UPDATE containers SET pool = 5 WHERE id = 4; "
      "UPDATE containers SET ended_us = 7 WHERE id = 5; UPDATE apps SET version = 9; "
      "UPDATE writer SET epoch = -1");
  expect_found(AllOf(HasSubstr("records: " + kThird), HasSubstr("an entry of no container")));
  expect_found(AllOf(HasSubstr(ContainerId{4}.text()), HasSubstr("a container of no function")));
  expect_found(AllOf(HasSubstr(ContainerId{5}.text()), HasSubstr("ended before it started")));
  expect_found(AllOf(HasSubstr(AppId{1}.text()), HasSubstr("its current version is missing")));
  expect_found(HasSubstr("writer: "));
}

TEST_F(StateDoctor, FindsAPageThatWasOverwritten) {
  store_.reset();
  const auto size = std::filesystem::file_size(path_);
  ASSERT_GT(size, 20u * 4096);
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  for (std::uintmax_t page = 14; page < size / 4096; page += 3) {
    file.seekp(static_cast<std::streamoff>(page * 4096));
    file << std::string(4096, '\x5a');
  }
  file.close();
  expect_found(HasSubstr("pages: "));
}

TEST_F(StateDoctor, FindsAnIndexThatMissesAnEntry) {
  damage(
      "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE INDEX ledger_by_time "
      "ON ledger (window_end_us)' WHERE name = 'ledger_by_time'");
  expect_found(AllOf(HasSubstr("pages: "), HasSubstr("ledger_by_time")));
}

TEST_F(StateDoctor, SaysWhatIsNoStateAtAll) {
  store_.reset();
  path_ = directory_ + "/other";
  EXPECT_THAT(troubles(), testing::ElementsAre(HasSubstr(path_)));
  std::ofstream(path_) << std::string(10'000, 'x');
  EXPECT_FALSE(troubles().empty());
  path_ = directory_ + "/newer.db";
  std::filesystem::copy_file(directory_ + "/state.db", path_);
  {
    auto database = Database::open(path_);
    ASSERT_TRUE(database->execute("PRAGMA user_version = 1000").ok());
  }
  EXPECT_THAT(troubles(), testing::ElementsAre(HasSubstr("schema 1000")));
}

}  // namespace
}  // namespace ember

// How far schedules have come: whatever order records come in, no tick is to be run again.
#include <gtest/gtest.h>

#include "store/store.h"
#include "store/store_fixture.h"

namespace ember {
namespace {

const AppId kApp{5};

ScheduleRecord record(int tick) {
  const Time at = kNoon + Duration::seconds(tick);
  ScheduleRecord made;
  made.app = kApp;
  made.function = "read";
  made.text = "every 1 s";
  made.anchor = kNoon;
  made.handled = made.last_tick = at;
  made.last_call = CallId{static_cast<std::uint64_t>(tick)};
  return made;
}

class SchedulesTest : public testing::Test {
 protected:
  Result<> write(Batch batch) {
    Snapshot snapshot;
    const auto store = open_store(directory_.path(), snapshot);
    return apply(*store, std::move(batch));
  }
  std::vector<ScheduleRecord> all() { return reopened(directory_.path()).schedules; }
  ScheduleRecord stored() {
    auto found = all();
    EXPECT_EQ(found.size(), 1u);
    return found.empty() ? ScheduleRecord{} : found[0];
  }

 private:
  TempDirectory directory_;
};

TEST_F(SchedulesTest, OutliveTheServer) {
  ScheduleRecord made = record(3);
  made.paused = true;
  made.skipped = 4;
  made.missed = 5;
  ASSERT_TRUE(write({made}).ok());
  const ScheduleRecord found = stored();
  EXPECT_EQ(found.app, kApp);
  EXPECT_EQ(found.function, "read");
  EXPECT_EQ(found.text, "every 1 s");
  EXPECT_EQ(found.anchor, kNoon);
  EXPECT_EQ(found.handled, made.handled);
  EXPECT_EQ(found.last_tick, made.last_tick);
  EXPECT_EQ(found.last_call, made.last_call);
  EXPECT_TRUE(found.paused);
  EXPECT_EQ(found.skipped, 4);
  EXPECT_EQ(found.missed, 5);
}

TEST_F(SchedulesTest, NeverGoBackToAnEarlierTick) {
  ASSERT_TRUE(write({record(9)}).ok());
  ScheduleRecord late = record(3);
  late.paused = true;
  ASSERT_TRUE(write({late}).ok());
  const ScheduleRecord found = stored();
  EXPECT_EQ(found.handled, record(9).handled);
  EXPECT_EQ(found.last_tick, record(9).last_tick);
  EXPECT_EQ(found.last_call, CallId{9});
  EXPECT_TRUE(found.paused) << "the newest word on that";
}

TEST_F(SchedulesTest, BeginAnewOnceForgotten) {
  ASSERT_TRUE(write({record(9)}).ok());
  ASSERT_TRUE(write({ForgottenSchedule{kApp, "read"}, record(3)}).ok());
  EXPECT_EQ(stored().handled, record(3).handled);
  ASSERT_TRUE(write({ForgottenSchedule{kApp, "read"}}).ok());
  EXPECT_TRUE(all().empty());
}

}  // namespace
}  // namespace ember

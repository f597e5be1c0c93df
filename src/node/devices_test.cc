// Who holds the devices of a node, whole or in shares, and who takes more than its share.
#include "node/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/share_watch.h"

namespace ember {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kGB = 1'000'000'000;
constexpr DeviceId kDevice{1}, kOther{2};
constexpr ContainerId kFirst{11}, kSecond{12}, kThird{13};

DeviceLeases two_devices() {
  return DeviceLeases({{.id = kDevice, .type = "L4", .vram_bytes = 24 * kGB},
                       {.id = kOther, .type = "L4", .vram_bytes = 24 * kGB}});
}

TEST(DeviceLeases, GiveADeviceWholeToOneContainerOrInSharesToSome) {
  DeviceLeases leases = two_devices();
  EXPECT_TRUE(leases.take(kFirst, {kDevice}).ok());
  EXPECT_EQ(leases.take(kSecond, {kDevice}, kGB).error().code, ErrorCode::conflict);
  leases.give_back(kFirst);
  EXPECT_TRUE(leases.take(kFirst, {kDevice}, 14 * kGB).ok());
  EXPECT_TRUE(leases.take(kSecond, {kDevice}, 10 * kGB).ok());
  EXPECT_EQ(leases.take(kThird, {kDevice}).error().code, ErrorCode::conflict);
  EXPECT_EQ(leases.holds(kDevice).size(), 2u);
}

TEST(DeviceLeases, RefuseAShareThatHasNoRoomAndSayHowMuchThereIs) {
  DeviceLeases leases = two_devices();
  ASSERT_TRUE(leases.take(kFirst, {kDevice}, 20 * kGB).ok());
  const auto refused = leases.take(kSecond, {kDevice}, 5 * kGB);
  EXPECT_EQ(refused.error().code, ErrorCode::resource_exhausted);
  EXPECT_THAT(refused.error().message, HasSubstr("has 4 GB left, not 5 GB"));
  EXPECT_TRUE(leases.take(kFirst, {kDevice}, 20 * kGB).ok()) << "an order that comes twice";
}

TEST(DeviceLeases, RefuseSharesThatAreNotOfOneDevice) {
  DeviceLeases leases = two_devices();
  EXPECT_FALSE(leases.take(kFirst, {kDevice, kOther}, kGB).ok());
  EXPECT_FALSE(leases.take(kFirst, {}, kGB).ok());
  EXPECT_FALSE(leases.take(kFirst, {kDevice}, -1).ok());
}

TEST(ShareWatch, FindsWhoIsOverItsShareAtTwoLooksInARow) {
  ShareWatch watch;
  const ShareUse modest{kFirst, 6 * kGB, 6 * kGB};
  const ShareUse greedy{kSecond, 6 * kGB, 7 * kGB};
  EXPECT_THAT(watch.look(kDevice, {modest, greedy}), IsEmpty());
  const auto offenders = watch.look(kDevice, {modest, greedy});
  ASSERT_EQ(offenders.size(), 1u);
  EXPECT_EQ(offenders[0].container, kSecond);
  EXPECT_EQ(offenders[0].used_bytes, 7 * kGB);
}

TEST(ShareWatch, ForgetsAMomentAndForgivesAFewPages) {
  ShareWatch watch;
  const ShareUse over{kFirst, 6 * kGB, 7 * kGB}, full{kFirst, 6 * kGB, 6 * kGB + (32 << 20)};
  EXPECT_THAT(watch.look(kDevice, {over}), IsEmpty());
  EXPECT_THAT(watch.look(kDevice, {full}), IsEmpty());
  EXPECT_THAT(watch.look(kDevice, {over}), IsEmpty());
  EXPECT_THAT(watch.look(kOther, {over}), IsEmpty()) << "another device";
}

}  // namespace
}  // namespace ember

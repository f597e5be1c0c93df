// What may be a key, a partition or a value of what functions share.
#include "model/shared_state.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

TEST(SharedState, TakesTextForKeysAndPartitions) {
  for (const char* text : {"a", "a/b c", "!gAQ=", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x94\xa5"}) {
    EXPECT_TRUE(check_dict_key(text).ok()) << text;
    EXPECT_TRUE(check_partition(text).ok()) << text;
  }
  EXPECT_TRUE(check_partition("").ok());
  EXPECT_TRUE(check_dict_key(std::string(kMaxDictKeyBytes, 'k')).ok());
  EXPECT_TRUE(check_partition(std::string(kMaxPartitionName, 'p')).ok());
}

TEST(SharedState, RefusesWhatIsNoTextOrTooLong) {
  for (const std::string_view text : {"\xff", "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf",
                                      "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe2\x82"}) {
    EXPECT_FALSE(check_dict_key(text).ok()) << text;
    EXPECT_FALSE(check_partition(text).ok()) << text;
  }
  EXPECT_FALSE(check_dict_key("").ok());
  EXPECT_FALSE(check_dict_key(std::string_view("a\0b", 3)).ok());
  EXPECT_FALSE(check_dict_key(std::string(kMaxDictKeyBytes + 1, 'k')).ok());
  EXPECT_FALSE(check_partition(std::string(kMaxPartitionName + 1, 'p')).ok());
}

TEST(SharedState, LimitsValuesByWhereTheyGo) {
  EXPECT_TRUE(check_shared_value(SharedKind::dict, kMaxDictValueBytes).ok());
  EXPECT_TRUE(check_shared_value(SharedKind::queue, kMaxQueueItemBytes).ok());
  const auto refused = check_shared_value(SharedKind::queue, kMaxQueueItemBytes + 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::payload_too_large);
  EXPECT_FALSE(check_shared_value(SharedKind::dict, kMaxDictValueBytes + 1).ok());
}

}  // namespace
}  // namespace ember

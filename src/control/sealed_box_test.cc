#include "control/sealed_box.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace ember {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kPlace = "ws-1/se-1/1/db";

TEST(SealedBox, OpensWithItsKeyInItsPlace) {
  const MasterKey key = MasterKey::generate();
  for (const std::string& text :
       {std::string(), std::string("hunter2"), std::string(65'536, 'x'), std::string("a\0b", 3)}) {
    const auto opened = unseal(key, kPlace, seal(key, kPlace, text));
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->view(), text);
  }
}

TEST(SealedBox, ShowsNothingOfItsTextAndIsNeverTheSameTwice) {
  const MasterKey key = MasterKey::generate();
  std::set<std::string> boxes;
  for (int i = 0; i < 20; ++i) boxes.insert(seal(key, kPlace, "hunter2hunter2"));
  EXPECT_EQ(boxes.size(), 20u);
  for (const std::string& box : boxes) {
    EXPECT_EQ(
        box.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="),
        std::string::npos);
    EXPECT_EQ(box.find("aHVudGVyMm"), std::string::npos);  // the beginning as base 64
  }
}

TEST(SealedBox, DoesNotOpenWithAnotherKeyOrElsewhere) {
  const MasterKey key = MasterKey::generate();
  const std::string box = seal(key, kPlace, "hunter2");
  EXPECT_FALSE(unseal(MasterKey::generate(), kPlace, box));
  for (const char* place : {"ws-2/se-1/1/db", "ws-1/se-2/1/db", "ws-1/se-1/2/db", "ws-1/se-1/1/dc",
                            "ws-1/se-1/1/", ""}) {
    EXPECT_FALSE(unseal(key, place, box)) << place;
  }
}

TEST(SealedBox, DoesNotOpenOnceAnyOfItIsOtherwise) {
  const MasterKey key = MasterKey::generate();
  const std::string box = seal(key, kPlace, "hunter2");
  for (std::size_t i = 0; i < box.size(); ++i) {
    std::string changed = box;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(unseal(key, kPlace, changed)) << i;
    EXPECT_FALSE(unseal(key, kPlace, box.substr(0, i))) << i;
  }
  EXPECT_FALSE(unseal(key, kPlace, box + "AAAA"));
}

TEST(SealedBox, DoesNotTakeTheDataKeyOfAnotherBox) {
  const MasterKey key = MasterKey::generate();
  const std::string one = seal(key, kPlace, "hunter2"), other = seal(key, kPlace, "hunter3");
  constexpr std::size_t kHead = 96;  // format, nonce and data key: 73 bytes, in base 64 within this
  EXPECT_FALSE(unseal(key, kPlace, one.substr(0, kHead) + other.substr(kHead)));
}

TEST(MasterKey, IsTheSameAsItsText) {
  const MasterKey key = MasterKey::generate();
  const SecretBytes text = key.text();
  EXPECT_EQ(text.size(), 64u);
  const auto again = MasterKey::parse(text.view());
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(unseal(*again, kPlace, seal(key, kPlace, "hunter2")));
}

TEST(MasterKey, IsRefusedWhereItIsNoneAndNotShown) {
  const std::string digits(64, 'a');
  for (const std::string& text :
       {std::string(), digits + "a", digits.substr(1), "g" + digits.substr(1),
        " " + digits.substr(1), digits.substr(1) + "\n"}) {
    const auto key = MasterKey::parse(text);
    ASSERT_FALSE(key.ok()) << text;
    EXPECT_THAT(key.error().message, HasSubstr("openssl rand -hex 32"));
    EXPECT_THAT(key.error().message, Not(HasSubstr("aaaa")));
  }
}

TEST(SecretBytes, AreWipedWhereOthersOwnThem) {
  std::string text = "hunter2";
  JsonValue value = {{"values", {{"PASSWORD", "hunter2"}, {"list", {"hunter2"}}}}};
  {
    const WipedAtEnd wiped_text(text);
    const WipedAtEnd wiped(value);
  }
  EXPECT_EQ(text, std::string(7, '\0'));
  EXPECT_THAT(value.dump(), Not(HasSubstr("hunter2")));
  EXPECT_THAT(value.dump(), HasSubstr("PASSWORD"));
}

TEST(SecretBytes, CanBeCopiedAndMoved) {
  SecretBytes one(std::string_view("hunter2"));
  const SecretBytes copy = one;
  const SecretBytes moved = std::move(one);
  EXPECT_EQ(copy.view(), "hunter2");
  EXPECT_EQ(moved.view(), "hunter2");
  EXPECT_TRUE(one.empty());  // NOLINT: moved from
  one = copy;
  EXPECT_EQ(one.view(), "hunter2");
}

}  // namespace
}  // namespace ember

#include "control/line_search.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

TEST(LineSearch, FindsATextWhateverTheCaseOfItsLetters) {
  EXPECT_TRUE(LineSearch("Time Out").finds("a TIME OUT came"));
  EXPECT_TRUE(LineSearch("a").finds("A"));
  EXPECT_FALSE(LineSearch("time out").finds("time  out"));
  EXPECT_FALSE(LineSearch("abc").finds("ab"));
  EXPECT_TRUE(LineSearch("é").finds("café"));
}

TEST(LineSearch, FindsNothingAnywhere) {
  EXPECT_TRUE(LineSearch("").finds(""));
  EXPECT_TRUE(LineSearch("").finds("x"));
  EXPECT_FALSE(LineSearch("x").finds(""));
}

TEST(LineSearch, FindsWhatBeginsAnewInsideATryThatFailed) {
  EXPECT_TRUE(LineSearch("aab").finds("aaab"));
  EXPECT_TRUE(LineSearch("abcabd").finds("abcabcabd"));
  EXPECT_TRUE(LineSearch("ababac").finds("abababac"));
  EXPECT_FALSE(LineSearch("ababac").finds("abababab"));
}

}  // namespace
}  // namespace ember

#include "control/error_body.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

TEST(ErrorBody, TellsWhoseFaultItWas) {
  EXPECT_EQ(read_error_body(R"({"kind": "bad_arguments"})").code, ErrorCode::invalid_argument);
  EXPECT_EQ(read_error_body(R"({"kind": "load_failed"})").code, ErrorCode::start_failed);
  EXPECT_EQ(read_error_body(R"({"kind": "user_exception"})").code, ErrorCode::user_exception);
  EXPECT_EQ(read_error_body("[]").code, ErrorCode::internal);
  const ErrorBody cancelled = read_error_body(R"({"kind": "cancelled"})");
  EXPECT_EQ(cancelled.code, ErrorCode::cancelled);
  EXPECT_EQ(cancelled.outcome, InputOutcome::cancelled);
}

TEST(ErrorBody, SaysTheExceptionInOneLine) {
  EXPECT_EQ(read_error_body(R"({"type": "ValueError", "message": "bad page"})").message,
            "ValueError: bad page");
  EXPECT_EQ(read_error_body(R"({"type": "KeyError"})").message, "KeyError");
}

TEST(ErrorBody, WhatIsNoneIsReplacedByOneThatSaysSo) {
  for (const char* bytes :
       {"", "{", "[]", R"({"a": [}})", R"({"a": 1} {"b": 2})", "{\"a\": \"\xff\"}"}) {
    std::string body = bytes;
    EXPECT_EQ(mend_error_body(body).code, ErrorCode::internal) << bytes;
    const ErrorBody mended = read_error_body(body);
    EXPECT_TRUE(mended.readable) << body;
    EXPECT_EQ(mended.message, "EmberError: the runner gave an error without a body");
  }
  std::string fine = R"({"type": "KeyError", "mine": [1]})";
  mend_error_body(fine);
  EXPECT_EQ(fine, R"({"type": "KeyError", "mine": [1]})");
}

TEST(ErrorBody, OfMoreBytesThanARunnerMakesIsNone) {
  EXPECT_TRUE(read_error_body("{\"pickle\": \"" + std::string(3 << 20, 'a') + "\"}").readable);
  EXPECT_FALSE(read_error_body("{\"pickle\": \"" + std::string(5 << 20, 'a') + "\"}").readable);
}

}  // namespace
}  // namespace ember

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

}  // namespace
}  // namespace ember

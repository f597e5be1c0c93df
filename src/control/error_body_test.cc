#include "control/error_body.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace ember {
namespace {

using std::literals::operator""sv;

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

TEST(ErrorBody, OfUserCodeNamesAStatusAtItsTopLevelOnly) {
  const auto status = [](const char* json) { return read_error_body(json).status; };
  EXPECT_EQ(status(R"( {"traceback": "\"status\": 400, {[", "deep": {"status": 499},
                        "list": [1, "]", {"status": 403}], "status" : 418 , "kind":"x"} )"),
            418);
  EXPECT_EQ(status(R"({"kind": "bad_arguments", "status": 418})"), 0);
  for (const char* none :
       {"{}", R"({"status": null})", R"({"status": "418"})", R"({"status": 418.0})",
        R"({"status": 200})", R"({"status": 399})", R"({"status": 600})", R"({"status": -418})",
        R"({"status": 18446744073709552034})"}) {
    EXPECT_EQ(status(none), 0) << none;
  }
}

TEST(ErrorBody, WhatIsNoneIsReplacedByOneThatSaysSo) {
  for (const std::string_view bytes :
       {""sv, "null"sv, "{"sv, "[]"sv, "{]"sv, R"({"a"})"sv, R"({"a":})"sv, R"({"a": 1,})"sv,
        R"({"a": [}})"sv, R"({"a": }1})"sv, R"({"a": 1} {"b": 2})"sv, R"({"a": 1}, "more")"sv,
        R"({"a": "x)"sv, R"({"a": "x\)"sv, "{\"a\": \"\xff\"}"sv, "\xef\xbb\xbf{}"sv,
        "{}\0, \"more\": 1"sv}) {
    std::string body(bytes);
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

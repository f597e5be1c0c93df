// How deployed functions are scaled, changed without a deploy.
#include "control/scaling_changes.h"

#include "control/control_fixture.h"

namespace ember {
namespace {

using testing::HasSubstr;

class LiveScaling : public ControlTest {
 protected:
  Result<std::string> change(const std::string& request, const std::string& variant = "",
                             const std::string& function = "echo") {
    return wait_for<std::string>(
        [&](auto done) { control->change_scaling("docs", function, variant, request, done); });
  }
  JsonValue shown() {
    const JsonValue scaling = json(*control->app_json("docs"))["functions"][0]["settings"];
    return {scaling["min_containers"], scaling["max_containers"], scaling["buffer_containers"],
            scaling["scaledown_window_ms"]};
  }
  JsonValue stats(const std::string& variant = "") {
    return json(*control->pool_stats_json("docs", "echo", variant));
  }
};

TEST_F(LiveScaling, ChangesWhatIsGivenAloneAndAnswersWithAll) {
  must_deploy("docs", {function("echo", R"("max_containers": 7)")});
  const auto answer = change(R"({"min_containers": 2})");
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(json(*answer), json(R"({"min_containers": 2, "max_containers": 7,
                                    "buffer_containers": 0, "scaledown_window_ms": 60000})"));
  EXPECT_EQ(shown(), JsonValue({2, 7, 0, 60000}));
  until([&] { return node.containers.size() == 2; });
}

TEST_F(LiveScaling, OutlivesTheServerAndEndsWithTheVersion) {
  must_deploy("docs", {function("echo", "")});
  ASSERT_TRUE(change(R"({"max_containers": 3, "scaledown_window_ms": 5000})").ok());
  close();
  open();
  EXPECT_EQ(shown(), JsonValue({0, 3, 0, 5000}));
  must_deploy("docs", {function("echo", "")});
  EXPECT_EQ(shown(), JsonValue({0, 100, 0, 60000}));
  close();
  open();
  EXPECT_EQ(shown(), JsonValue({0, 100, 0, 60000}));
}

TEST_F(LiveScaling, OfAVariantIsItsOwn) {
  must_deploy("docs", {function("echo", "")});
  const auto made = wait_for<std::string>([&](auto done) {
    control->make_variant("docs", "echo", R"({"options": {"timeout_ms": 9000}})", done);
  });
  const auto id = json(*made)["variant"].get<std::string>();
  ASSERT_TRUE(change(R"({"min_containers": 1})", id).ok());
  until([&] { return node.containers.size() == 1; });
  EXPECT_EQ(shown(), JsonValue({0, 100, 0, 60000}));
  node.reconnect_runners();
  until([&] { return stats(id)["containers"] == 1; });
  EXPECT_EQ(stats(id)["input_headroom"], 1);
  EXPECT_EQ(stats()["containers"], 0);
}

TEST_F(LiveScaling, RefusesWhatNoFunctionCouldBeDeployedWith) {
  must_deploy("docs", {function("echo", R"("max_containers": 7)")});
  EXPECT_THAT(change(R"({"min_containers": 8})").error().message, HasSubstr("min_containers"));
  EXPECT_THAT(change(R"({"max_inputs": 8})").error().message, HasSubstr("max_inputs"));
  EXPECT_THAT(change("[]").error().message, HasSubstr("object"));
  EXPECT_EQ(change("{}", "", "other").error().code, ErrorCode::not_found);
  EXPECT_EQ(change("{}", "va-0000000000001").error().code, ErrorCode::not_found);
  EXPECT_EQ(shown(), JsonValue({0, 7, 0, 60000}));
}

}  // namespace
}  // namespace ember

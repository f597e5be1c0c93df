// Classes and their methods, and variants of functions: pools beside those that are deployed.
#include "control/variants.h"

#include "control/control_fixture.h"

namespace ember {
namespace {

using testing::HasSubstr;

constexpr const char* kClass = R"("methods": [{"name": "read", "parameters": [{"name": "page"}]},
  {"name": "sum", "is_async": true}],
  "class_parameters": [
    {"name": "size", "annotation": "str", "required": false, "default": "7b"},
    {"name": "layers", "annotation": "int", "required": false, "default": 2},
    {"name": "token", "annotation": "bytes", "required": false, "default": "AA=="}])";
constexpr const char* kNeedy = R"("min_containers": 1, "methods": [{"name": "get"}],
  "class_parameters": [{"name": "name", "annotation": "str"}])";

class LiveVariants : public ControlTest {
 protected:
  Result<std::string> make(const std::string& function, const std::string& difference,
                           const std::string& app = "docs") {
    return wait_for<std::string>(
        [&](auto done) { control->make_variant(app, function, difference, done); });
  }
  // Its id, or "" for none.
  std::string must_make(const std::string& function, const std::string& difference) {
    const auto made = make(function, difference);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
    if (!made) return {};
    const JsonValue variant = json(*made)["variant"];
    return variant.is_null() ? "" : variant.get<std::string>();
  }
  StartedCall start_variant(const std::string& name, const std::string& variant, Caller& caller) {
    return control->start_call({"docs", name, {BodyFormat::json, "{}"}, {}, variant}, &caller);
  }
  void call_variant(const std::string& name, const std::string& variant, Caller& caller) {
    const auto started = start_variant(name, variant, caller);
    ASSERT_TRUE(started.ok()) << started.error().message;
    until([&] { return caller.done(); });
    EXPECT_TRUE(caller.result);
  }
  JsonValue runner_s_file() { return json(node.only().spec.function_json); }
};

TEST_F(LiveVariants, MethodsOfAClassShareAContainerThatInputsNameThemTo) {
  must_deploy("docs", {function("slow", std::string(kClass) + R"(, "max_inputs": 2)")});
  Caller read, sum;
  must_start("docs", "slow.read", read);
  must_start("docs", "slow.sum", sum);
  until([&] { return node.containers.size() == 1 && node.only().inputs.size() == 2; });
  const auto& inputs = node.only().inputs;
  EXPECT_EQ(inputs[0].header.format >> kFrameMethodShift, 0);
  EXPECT_EQ(inputs[1].header.format >> kFrameMethodShift, 1);
  EXPECT_EQ(body_format(inputs[1].header), BodyFormat::json);
  EXPECT_EQ(runner_s_file()["methods"], json(R"(["read", "sum"])"));
  EXPECT_EQ(runner_s_file()["class_arguments"], JsonValue::object());
  EXPECT_EQ(json(control->calls_json("docs", 9))["calls"][0]["function"], "slow.sum");
}

TEST_F(LiveVariants, AFunctionOfThatVeryNameGoesBeforeAMethod) {
  must_deploy("docs", {function("slow", kClass), function("slow.read")});
  Caller caller;
  call("docs", "slow.read", caller);
  EXPECT_TRUE(caller.result);  // by the function, which answers at once
}

TEST_F(LiveVariants, WhatIsNoMethodIsNotFoundAndThoseThereAreAreNamed) {
  must_deploy("docs", {function("Model", kClass), function("echo")});
  for (const char* name : {"Model", "Model.none", "echo.read", "Model."}) {
    Caller caller;
    const auto started = start("docs", name, caller);
    ASSERT_FALSE(started.ok()) << name;
    EXPECT_EQ(started.error().code, ErrorCode::not_found);
    EXPECT_THAT(started.error().message, HasSubstr("it has Model.read, Model.sum, echo"));
    EXPECT_TRUE(started.refusal().told_code.empty());
  }
}

TEST_F(LiveVariants, ShowsAClassWithItsMethodsParametersAndVariants) {
  must_deploy("docs", {function("Model", kClass)});
  const std::string id = must_make("Model", R"({"parameters": {"size": "70b"}})");
  const JsonValue shown = json(*control->app_json("docs"))["functions"][0];
  EXPECT_EQ(shown["methods"][0]["name"], "read");
  EXPECT_EQ(shown["methods"][0]["parameters"], json(R"([{"name": "page"}])"));
  EXPECT_EQ(shown["class_parameters"][1]["default"], 2);
  ASSERT_EQ(shown["variants"].size(), 1u);
  EXPECT_EQ(shown["variants"][0]["variant"], id);
  EXPECT_EQ(shown["variants"][0]["parameters"], json(R"({"size": "70b"})"));
}

TEST_F(LiveVariants, TheSameDifferenceIsTheSameVariantHoweverItIsWritten) {
  must_deploy("docs", {function("Model", kClass)});
  const std::string first = must_make("Model", R"({"parameters": {"layers": 3, "size": "1b"}})");
  EXPECT_EQ(must_make("Model", R"({"parameters": {"size": "1b", "layers": 3}, "options": {}})"),
            first);
  EXPECT_NE(must_make("Model", R"({"parameters": {"size": "1b"}})"), first);
  EXPECT_EQ(must_make("Model", R"({"parameters": {"size": "7b", "layers": 2}})"), "");
  EXPECT_EQ(must_make("Model", "{}"), "");
}

TEST_F(LiveVariants, AreAskedForTwiceAtOnceAndMadeOnce) {
  must_deploy("docs", {function("Model", kClass)});
  std::vector<std::string> answers;
  for (int i = 0; i < 2; ++i) {
    control->make_variant("docs", "Model", R"({"parameters": {"size": "1b"}})",
                          [&](const Result<std::string>& made) { answers.push_back(*made); });
  }
  until([&] { return answers.size() == 2; });
  EXPECT_EQ(answers[0], answers[1]);
}

TEST_F(LiveVariants, HaveContainersOfTheirOwnThatKnowTheirParametersAndOptions) {
  must_deploy("docs", {function("Model", kClass)});
  const std::string id = must_make(
      "Model", R"({"parameters": {"size": "1b"}, "options": {"memory_bytes": 268435456}})");
  Caller caller;
  call_variant("Model.read", id, caller);
  EXPECT_EQ(runner_s_file()["class_arguments"], json(R"({"size": "1b"})"));
  EXPECT_EQ(node.only().spec.resources.memory_bytes, 256ll << 20);
  EXPECT_EQ(node.only().spec.resources.cpu_millicores, 125);
  EXPECT_EQ(json(control->containers_json())["containers"][0]["variant"], id);
  Caller plain;
  call("docs", "Model.read", plain);
  EXPECT_EQ(node.containers.size(), 2u);
}

TEST_F(LiveVariants, OfFunctionsDifferInTheirOptions) {
  must_deploy("docs", {function("echo", R"("max_inputs": 4, "target_inputs": 2)")});
  const std::string id = must_make("echo", R"({"options": {"max_inputs": 8}})");
  Caller caller;
  call_variant("echo", id, caller);
  EXPECT_EQ(runner_s_file()["max_inputs"], 8);
}

TEST_F(LiveVariants, WhatDoesNotFitTheFunctionIsRefused) {
  must_deploy("docs", {function("Model", kClass), function("Needy", kNeedy)});
  const std::pair<const char*, const char*> wrong[] = {
      {R"({"parameters": {"sizes": "1b"}})",
       "Model: unknown parameter \"sizes\"; it takes size, layers, token"},
      {R"({"parameters": {"size": 1}})", "the parameter \"size\" must be str"},
      {R"({"parameters": {"layers": 1.5}})", "the parameter \"layers\" must be int"},
      {R"({"parameters": {"token": "a"}})", "the parameter \"token\" must be bytes"},
      {R"({"parameters": {"token": "ab=c"}})", "the parameter \"token\" must be bytes"},
      {R"({"options": {"name": "x"}})", "options.name cannot differ"},
      {R"({"options": {"timeout_ms": 0}})", "timeout (ms) is 0"},
      {R"({"options": {"gpu": ["K80"]}})", "K80"},
      {R"({"options": {"max_inputs": "many"}})", "max_inputs must be a whole number"},
      {R"({"other": {}})", "other is not a field known here"},
      {"[]", "must be an object"}};
  for (const auto& [difference, told] : wrong) {
    const auto made = make("Model", difference);
    ASSERT_FALSE(made.ok()) << difference;
    EXPECT_EQ(made.error().code, ErrorCode::invalid_argument) << difference;
    EXPECT_THAT(made.error().message, HasSubstr(told));
  }
  EXPECT_THAT(make("Needy", "{}").error().message,
              HasSubstr("the parameter \"name\" is missing; it takes name"));
  EXPECT_EQ(make("none", "{}").error().code, ErrorCode::not_found);
  EXPECT_EQ(make("Model", "{}", "none").error().code, ErrorCode::not_found);
  EXPECT_EQ(make("Model", R"({"options": {"cpu_millicores": 64000}})").error().code,
            ErrorCode::conflict);
}

TEST_F(LiveVariants, AClassThatNeedsParametersHasNoContainersAndNoCallsWithoutThem) {
  must_deploy("docs", {function("Needy", kNeedy)});
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_TRUE(node.containers.empty());
  Caller caller;
  const auto started = start("docs", "Needy.get", caller);
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code, ErrorCode::invalid_argument);
  must_make("Needy", R"({"parameters": {"name": "Ada"}})");
  until([&] { return node.containers.size() == 1; });  // its floor
}

TEST_F(LiveVariants, OneThatIsNotKnownHasACodeOfItsOwn) {
  must_deploy("docs", {function("Model", kClass), function("echo")});
  const std::string other = must_make("echo", R"({"options": {"timeout_ms": 1000}})");
  for (const std::string& id : {std::string("va-0000000000001"), std::string("x"), other}) {
    Caller caller;
    const auto started = start_variant("Model.read", id, caller);
    ASSERT_FALSE(started.ok());
    EXPECT_EQ(started.error().code, ErrorCode::not_found);
    EXPECT_EQ(started.refusal().told_code, kUnknownVariant);
  }
  Caller caller;
  EXPECT_TRUE(start_variant("Model.none", other, caller).refusal().told_code.empty());
}

TEST_F(LiveVariants, AreGoneWithTheNextVersionWhichMakesItsOwn) {
  must_deploy("docs", {function("Model", kClass)});
  const std::string before = must_make("Model", R"({"parameters": {"size": "1b"}})");
  Caller first;
  call_variant("Model.read", before, first);
  must_deploy("docs", {function("Model", kClass)});
  until([&] { return node.containers.empty(); });
  Caller second;
  EXPECT_EQ(start_variant("Model.read", before, second).refusal().told_code, kUnknownVariant);
  const std::string after = must_make("Model", R"({"parameters": {"size": "1b"}})");
  EXPECT_NE(after, before);
  Caller third;
  call_variant("Model.read", after, third);
}

TEST_F(LiveVariants, AreKnownAfterARestartAndTheirContainersAdopted) {
  must_deploy("docs",
              {function("Model", std::string(kClass) + R"(, "scaledown_window_ms": 3600000)")});
  const std::string id = must_make("Model", R"({"parameters": {"size": "1b"}})");
  Caller caller;
  call_variant("Model.read", id, caller);
  pass(Duration::seconds(1));
  for (int i = 0; i < 50; ++i) turn();
  const ContainerId container = node.ids()[0];
  close();
  open();
  node.reconnect_runners();
  Caller again;
  call_variant("Model.sum", id, again);
  EXPECT_EQ(again.report.container, container);
  EXPECT_FALSE(again.report.cold);
  EXPECT_EQ(must_make("Model", R"({"parameters": {"size": "1b"}})"), id);
}

TEST_F(LiveVariants, OfAnEarlierVersionKeepTheirContainersOverARestartUntilTheyEnd) {
  must_deploy("docs", {function("slow", kClass)});
  const std::string id = must_make("slow", R"({"parameters": {"size": "1b"}})");
  Caller caller;
  ASSERT_TRUE(start_variant("slow.read", id, caller).ok());
  until_running();
  must_deploy("docs", {function("slow", kClass)});
  pass(Duration::seconds(1));
  for (int i = 0; i < 50; ++i) turn();
  close();
  open();
  for (int i = 0; i < 20; ++i) turn();
  ASSERT_EQ(node.containers.size(), 1u);  // adopted: not ended as a stranger
  EXPECT_FALSE(node.only().killed);
  node.reconnect_runners();
  until([&] { return node.containers.empty(); });  // retired, as it takes no inputs any more
}

TEST_F(LiveVariants, AreLimitedAndTheLongestUnusedGivesWay) {
  must_deploy("docs", {function("echo")});
  const auto nth = [&](int i) {
    clock.advance(Duration::milliseconds(1));
    return must_make("echo", R"({"options": {"timeout_ms": )" + std::to_string(1000 + i) + "}}");
  };
  std::vector<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.push_back(nth(i));
  Caller first;
  call_variant("echo", ids[0], first);  // has a container now, and is the last used
  nth(1000);
  Caller gone, there, kept;
  EXPECT_EQ(start_variant("echo", ids[1], gone).refusal().told_code, kUnknownVariant);
  call_variant("echo", ids[0], there);
  call_variant("echo", ids[2], kept);
}

}  // namespace
}  // namespace ember

#include "control/function_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ember {
namespace {

using testing::HasSubstr;

std::string deploy(const std::string& fields) {
  return R"({"source": "src-1", "functions": [{"name": "read", "module": "app", "qualname": "read")" +
         fields + "}]}";
}

std::string refusal(const std::string& text) {
  const auto request = parse_deploy_request(text);
  if (request.ok()) return "accepted";
  EXPECT_EQ(request.error().code, ErrorCode::invalid_argument);
  return request.error().message;
}

TEST(FunctionSpec, TakesTheDefaultForWhatIsLeftOut) {
  const auto request = parse_deploy_request(deploy(R"(, "max_inputs": 8)"));
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_FALSE(request->ephemeral);
  const FunctionSpec& spec = request->functions.at(0);
  EXPECT_EQ(spec.settings.timeout, FunctionSettings{}.timeout);
  EXPECT_EQ(spec.settings.scaling.target_inputs, 8u) << "aims at what a container may run";
  EXPECT_EQ(spec.image.base.kind, "host");
  EXPECT_TRUE(spec.settings.resources.gpu.empty());
  EXPECT_EQ(spec.sandbox.network.access, NetworkAccess::internet);
}

TEST(FunctionSpec, ComesBackFromItsJsonAsItWas) {
  const auto request = parse_deploy_request(deploy(
      R"(, "is_async": true, "is_generator": true, "gpu": ["l4", "H100:2"], "cpu_millicores": 500, "timeout_ms": 1500,
         "image": {"base": "host", "steps": [{"kind": "uv_pip_install", "arguments": ["numpy"]}]},
         "env": {"A": "1"}, "network": "none", "min_containers": 1, "queue_limit": 5,
         "parameters": [{"name": "path", "kind": "bytes"}])"));
  ASSERT_TRUE(request.ok()) << request.error().message;
  const JsonValue once = to_json(request->functions[0]);
  const auto again = parse_function_spec(once, "");
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(to_json(*again), once);
  EXPECT_EQ(once["gpu"], JsonValue::parse(R"(["L4", "H100:2"])"));
  EXPECT_EQ(again->sandbox.network.access, NetworkAccess::none);
  EXPECT_EQ(again->settings.timeout, Duration::milliseconds(1500));
  EXPECT_EQ(again->parameters, R"([{"name":"path","kind":"bytes"}])");
  EXPECT_TRUE(again->is_generator);
}

TEST(FunctionSpec, ReadsHowItsInputsAreBatched) {
  const auto request =
      parse_deploy_request(deploy(R"(, "max_batch_size": 32, "batch_wait_ms": 5)"));
  ASSERT_TRUE(request.ok()) << request.error().message;
  const FunctionSpec& spec = request->functions[0];
  EXPECT_EQ(spec.settings.batching.max_batch_size, 32u);
  EXPECT_EQ(spec.settings.batching.wait, Duration::milliseconds(5));
  const auto again = parse_function_spec(to_json(spec), "");
  EXPECT_EQ(again->settings.batching.max_batch_size, 32u);
  for (const char* wrong :
       {R"("max_batch_size": 1001)", R"("max_batch_size": -1)",
        R"("max_batch_size": 2, "batch_wait_ms": 600001)",
        R"("max_batch_size": 2, "is_generator": true)",
        R"("max_batch_size": 2, "methods": [{"name": "m", "is_generator": true}])",
        R"("is_generator": true, "methods": [{"name": "m"}])"}) {
    EXPECT_FALSE(parse_deploy_request(deploy(std::string(", ") + wrong)).ok()) << wrong;
  }
}

TEST(FunctionSpec, ReadsMemoryOfAGpuAsAShareOrWithoutATypeAsTheLeastThereIs) {
  const auto share =
      parse_deploy_request(deploy(R"(, "gpu": ["L4", "T4"], "vram_bytes": 6000000000)"));
  ASSERT_TRUE(share.ok()) << share.error().message;
  const FunctionSpec& spec = share->functions[0];
  EXPECT_EQ(spec.settings.resources.gpu.share_bytes, 6'000'000'000);
  EXPECT_EQ(to_json(spec)["gpu"], JsonValue::parse(R"(["L4", "T4"])"));
  EXPECT_EQ(parse_function_spec(to_json(spec), "")->settings.resources.gpu,
            spec.settings.resources.gpu);

  const auto any = parse_deploy_request(deploy(R"(, "vram_bytes": 24000000000)"));
  ASSERT_TRUE(any.ok()) << any.error().message;
  GpuDemand demand = any->functions[0].settings.resources.gpu;
  EXPECT_EQ(demand.least_vram_bytes, 24'000'000'000);
  EXPECT_EQ(demand.text(), "any with 24 GB");
  demand.choices = {{"L4", 1}, {"H100", 1}};  // what it comes to here is not what was asked for
  EXPECT_EQ(to_json(demand), JsonValue::array());

  EXPECT_THAT(refusal(deploy(R"(, "gpu": ["L4:2"], "vram_bytes": 1000000)")),
              HasSubstr("a share of one device"));
  EXPECT_THAT(refusal(deploy(R"(, "vram_bytes": 900000000000)")), HasSubstr("B200 180 GiB"));
}

TEST(FunctionSpec, NamesTheFieldThatIsWrong) {
  EXPECT_THAT(refusal(deploy(R"(, "timeout_ms": "5")")), HasSubstr("functions[0].timeout_ms"));
  EXPECT_THAT(refusal(deploy(R"(, "timeout_ms": 0)")), HasSubstr("timeout (ms) is 0"));
  EXPECT_THAT(refusal(deploy(R"(, "timeout_ms": 1.5)")), HasSubstr("whole number"));
  EXPECT_THAT(refusal(deploy(R"(, "timeout_ms": 18446744073709551615)")),
              HasSubstr("whole number"));
  EXPECT_THAT(refusal(deploy(R"(, "max_containers": -1)")), HasSubstr("max_containers"));
  EXPECT_THAT(refusal(deploy(R"(, "min_containers": 101)")), HasSubstr("min_containers"));
  EXPECT_THAT(refusal(deploy(R"(, "gpu": "L4")")), HasSubstr("functions[0].gpu must be a list"));
  EXPECT_THAT(refusal(deploy(R"(, "gpu": ["H1000"])")), HasSubstr("known types are"));
  EXPECT_THAT(refusal(deploy(R"(, "env": {"A=B": "1"})")), HasSubstr("env.A=B"));
  EXPECT_THAT(
      refusal(deploy(R"(, "network": "10.0.0.0/8")")),
      HasSubstr(
          R"(functions[0].network: "10.0.0.0/8" is not known; "internet", "none" and a list)"));
  EXPECT_THAT(refusal(deploy(R"(, "network": false)")), HasSubstr("functions[0].network"));
  EXPECT_THAT(refusal(deploy(R"(, "webhook": true)")), HasSubstr("functions[0].webhook"));
  EXPECT_THAT(refusal(deploy(R"(, "image": {"base": "debian"})")), HasSubstr("functions[0].image"));
  EXPECT_THAT(refusal(deploy(R"(, "image": {"steps": [{"kind": "run", "arguments": ["x"]}]})")),
              HasSubstr("image.steps[0].kind"));
  EXPECT_THAT(refusal(deploy(R"(, "image": {"steps": [{"kind": "uv_pip_install",
                                                        "arguments": ["--index-url=x"]}]})")),
              HasSubstr("(no options, paths or addresses), not \"--index-url=x\""));
}

TEST(FunctionSpec, RefusesWhatANodeWouldRefuse) {
  EXPECT_THAT(refusal(deploy(R"(, "env": {"EMBER_RUN_DIR": "/"})")),
              HasSubstr("functions[0].env.EMBER_RUN_DIR: names that begin with EMBER_"));
  EXPECT_THAT(refusal(deploy(R"(, "image": {"steps": [{"kind": "uv_pip_install",
                                                        "arguments": ["/etc/passwd"]}]})")),
              HasSubstr("functions[0].image.steps[0].arguments: packages come from the index"));
}

TEST(FunctionSpec, BoundsAnEnvironmentAltogether) {
  JsonValue env = JsonValue::object();
  for (int i = 0; i < 40; ++i) env["V" + std::to_string(i)] = std::string(32 << 10, 'x');
  EXPECT_THAT(refusal(deploy(R"(, "env": )" + dump_json(env))),
              HasSubstr("functions[0].env has 1310830 bytes; the most is 1048576"));
}

TEST(FunctionSpec, RefusesWhatIsNoDeployRequest) {
  EXPECT_THAT(refusal("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("[]"), HasSubstr("must be an object"));
  EXPECT_THAT(refusal(R"({"functions": []})"), HasSubstr("source is missing"));
  EXPECT_THAT(refusal(R"({"source": "src-1", "functions": []})"), HasSubstr("1 to 200"));
  EXPECT_THAT(refusal(std::string(100'000, '[')), HasSubstr("nested too deeply"));
  EXPECT_THAT(
      refusal(R"({"source": "s", "functions": [{"name": "a/b", "module": "m", "qualname": "q"}]})"),
      HasSubstr("functions[0].name"));
  const std::string one = R"({"name": "read", "module": "m", "qualname": "q"})";
  EXPECT_THAT(refusal(R"({"source": "s", "functions": [)" + one + "," + one + "]}"),
              HasSubstr("two functions are named \"read\""));
  std::string many = one;
  for (int i = 0; i < 200; ++i) many += "," + one;
  EXPECT_THAT(refusal(R"({"source": "s", "functions": [)" + many + "]}"), HasSubstr("1 to 200"));
}

std::string object_of(int members) {
  std::string text = "{";
  for (int i = 0; i < members; ++i) {
    text += (i > 0 ? "," : "") + ("\"k" + std::to_string(i) + "\":0");
  }
  return text + "}";
}

// Putting a member in costs as much as there are: a hundred thousand of them would hold up the
// server for longer than a test may last.
TEST(FunctionSpec, RefusesAnObjectOfVeryManyMembersBeforeItIsBuilt) {
  EXPECT_THAT(refusal(object_of(1'001)), HasSubstr("an object of more than 1000 fields"));
  EXPECT_THAT(refusal(object_of(500'000)), HasSubstr("an object of more than 1000 fields"));
  EXPECT_THAT(refusal(object_of(1'000)), HasSubstr("source is missing"));
}

TEST(FunctionSpec, RefusesNumbersAndTextsThatAreNone) {
  for (const char* value :
       {"NaN", "Infinity", "-Infinity", "1e999", "01", "+1", "\"\xff\"", "\"\xed\xa0\x80\""}) {
    EXPECT_THAT(refusal("{\"source\": " + std::string(value) + "}"), HasSubstr("not valid JSON"))
        << value;
  }
  EXPECT_THAT(refusal("{\"source\": " + std::string(7 << 20, '9') + "}"),
              HasSubstr("not valid JSON"));
  const auto longer = parse_deploy_request("{\"source\": " + std::string(9 << 20, '9') + "}");
  EXPECT_EQ(longer.error().code, ErrorCode::payload_too_large);
}

}  // namespace
}  // namespace ember

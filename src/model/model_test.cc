#include <gtest/gtest.h>

#include "model/environment.h"
#include "model/function.h"
#include "model/gpu.h"
#include "model/image.h"
#include "model/requirement.h"

namespace ember {
namespace {

TEST(Gpu, ReadsATypeAndACountInCanonicalForm) {
  const auto choice = parse_gpu_choice("h100:2");
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(*choice, (GpuChoice{"H100", 2}));
  EXPECT_EQ((GpuDemand{{{"H100", 2}, {"A100-80GB", 1}}}).text(), "H100:2, A100-80GB");
}

TEST(Gpu, RefusesWhatItDoesNotKnowAndSaysWhatItDoes) {
  for (const char* text : {"", "H1000", "L4:", "L4:0", "L4:9", "L4:1x", "L4:-1"}) {
    const auto choice = parse_gpu_choice(text);
    ASSERT_FALSE(choice.ok()) << text;
    EXPECT_EQ(choice.error().code, ErrorCode::invalid_argument);
  }
  EXPECT_NE(parse_gpu_choice("H1000").error().message.find("A100-80GB"), std::string::npos);
}

TEST(Gpu, TellsADemandForMemoryAsPeopleAskForIt) {
  EXPECT_EQ((GpuDemand{{{"L4", 1}, {"T4", 1}}, 6'000'000'000}).text(), "6 GB of L4, 6 GB of T4");
  EXPECT_EQ((GpuDemand{{}, 0, 24'000'000'000}).text(), "any with 24 GB");
  EXPECT_EQ(vram_text(7'140'000'000), "7.1 GB");
  EXPECT_EQ(vram_text(512'000'000), "512 MB");
}

TEST(Gpu, RefusesDemandsForMemoryThatNoDeviceCouldMeet) {
  EXPECT_TRUE(check_vram({{{"L4", 1}}, 24'000'000'000}).ok());
  EXPECT_TRUE(check_vram({{}, 0, 141'000'000'000}).ok());
  const auto too_much = check_vram({{{"L4", 1}}, 26'000'000'000});
  ASSERT_FALSE(too_much.ok());
  EXPECT_NE(too_much.error().message.find("L4 24 GiB"), std::string::npos);
  EXPECT_FALSE(check_vram({{{"L4", 2}}, 6'000'000'000}).ok());
  EXPECT_FALSE(check_vram({{}, 0, 900'000'000'000}).ok());
  EXPECT_FALSE(check_vram({{{"L4", 1}}, -1}).ok());
}

TEST(Function, AcceptsItsDefaults) { EXPECT_TRUE(check(FunctionSettings{}).ok()); }

TEST(Function, NamesTheFieldThatIsOutOfRange) {
  FunctionSettings settings;
  settings.scaling.max_containers = 2;
  settings.scaling.min_containers = 3;
  const auto result = check(settings);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("min_containers"), std::string::npos);
}

TEST(Function, RefusesNamesThatAreNotNames) {
  EXPECT_TRUE(check_name("app", "read-documents").ok());
  for (const char* name : {"", "-x", ".x", "a/b", "a b", "\xc3\xa9"}) {
    EXPECT_FALSE(check_name("app", name).ok()) << name;
  }
  EXPECT_FALSE(check_name("app", std::string(64, 'a')).ok());
}

TEST(Image, PackagesAreNamedAsTheIndexKnowsThem) {
  for (const char* package :
       {"numpy", "numpy==2.1", " a ", "zope.interface", "ruamel_yaml-clib", "torch >=2.1, <3",
        "fastapi[standard]", "x [a,b-c] ~= 1.0", "x==1.*", "x===2024.1+cu121.post1", "x!=1!2.0rc1",
        "tomli; python_version < '3.11'",
        "x[a]>=1;(os_name == \"nt\" or platform_machine=='x86-64') and python_version not in "
        "'3.9'"}) {
    EXPECT_TRUE(is_requirement(package)) << package;
  }
  for (const char* package :
       {"",    " ",     "-x",       ".x",  "x.",          "x-",       "_x",
        "x==", "x>=1,", "x 1",      "x=1", "x==1 2",      "x[",       "x[]",
        "x[a", "x[a,]", "x;",       "x; ", "x]",          "x(>=1)",   "x>=1;a@b",
        "x#1", "x%2f",  "\xc3\xa9", "x\t", "x==\xc3\xa9", "x${HOME}", "~"}) {
    EXPECT_FALSE(is_requirement(package)) << package;
  }
}

TEST(Image, StepsThatCouldReachTheNodesFilesOrNetworksAreRefused) {
  for (const char* argument : {"--index-url=x",
                               "-r",
                               "/etc/passwd",
                               "./x",
                               "",
                               "a\nb",
                               "file:///x",
                               "pkg @ https://example.org/x.whl",
                               "tmp/x/hostpkg-1.0-py3-none-any.whl",
                               "root/.config",
                               "hostpkg@/tmp/x/hostpkg.whl",
                               "hostpkg @ ../x",
                               "x @ http:/127.0.0.1:9/x",
                               "x@/etc/passwd",
                               "x @ file:/etc/passwd",
                               "git+ssh:x",
                               "x; @ /tmp/x",
                               "x[a]@/tmp/x",
                               "hostpkg-1.0-py3-none-any.whl",
                               "x.whl[a]",
                               "evil.tar.gz",
                               "evil.zip",
                               "evil.tgz[a]",
                               "C:\\x"}) {
    ImageSpec spec;
    spec.steps = {{.kind = "uv_pip_install", .arguments = {argument}}};
    ASSERT_FALSE(check_image(spec).ok()) << argument;
    EXPECT_NE(check_image(spec).error().message.find("come from the index"), std::string::npos);
  }
  ImageSpec other;
  other.base.kind = "debian";
  EXPECT_FALSE(check_image(other).ok());
  other.base.kind = "host";
  other.steps = {{.kind = "run", .arguments = {"x"}}};
  EXPECT_FALSE(check_image(other).ok());
}

TEST(Image, IsBoundedInStepsAndInPackages) {
  ImageSpec spec;
  spec.steps.assign(32, {.kind = "uv_pip_install", .arguments = {"numpy"}});
  EXPECT_TRUE(check_image(spec).ok());
  spec.steps.push_back(spec.steps.front());
  EXPECT_EQ(check_image(spec).error().message, "image.steps has more than 32 steps");
  spec.steps = {{.kind = "uv_pip_install", .arguments = std::vector<std::string>(256, "numpy")}};
  EXPECT_TRUE(check_image(spec).ok());
  spec.steps[0].arguments.push_back("numpy");
  EXPECT_EQ(check_image(spec).error().message,
            "image.steps[0].arguments must be a list of 1 to 256 texts");
  spec.steps.assign(2, {.kind = "uv_pip_install",
                        .arguments = std::vector<std::string>(200, std::string(1024, 'x'))});
  EXPECT_EQ(check_image(spec).error().message,
            "image has steps of 409600 bytes; the most is 262144");
}

TEST(Environment, TakesPlainNamesThatAreNotOurs) {
  EXPECT_TRUE(check_env({{"_A1", ""}, {"PATH", "/bin"}, {std::string(255, 'x'), "1"}}).ok());
  const std::string wrong[] = {"", "1A", "A=B", "a b", "\xc3\xa4", std::string(256, 'x')};
  for (const std::string& name : wrong) EXPECT_FALSE(check_env({{name, "1"}}).ok()) << name;
  EXPECT_EQ(check_env({{"EMBER_SOURCE", "/"}}).error().message,
            "env.EMBER_SOURCE: names that begin with EMBER_ are Ember's own; use another");
}

TEST(Environment, IsBoundedInEachValueAndAltogether) {
  const std::string longest(32 << 10, 'x');
  EXPECT_TRUE(check_env({{"A", longest}}).ok());
  EXPECT_FALSE(check_env({{"A", longest + "x"}}).ok());
  EXPECT_FALSE(check_env({{"A", std::string(1, '\0')}}).ok());
  EXPECT_FALSE(check_env(Environment(257, {"A", ""})).ok());
  EXPECT_TRUE(check_env(Environment(31, {"A", longest})).ok());
  EXPECT_EQ(check_env(Environment(33, {"A", longest}), "functions[1].env").error().code,
            ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace ember

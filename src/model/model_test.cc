#include <gtest/gtest.h>

#include "model/function.h"
#include "model/gpu.h"

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

}  // namespace
}  // namespace ember

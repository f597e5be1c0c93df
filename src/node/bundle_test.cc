#include "node/bundle.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace ember {
namespace {

TEST(Bundle, SharesScarceCoresByWhatIsAskedForAndLendsSpareOnes) {
  const Cgroups cgroups(NodeId{1});
  if (!cgroups.has("cpu")) GTEST_SKIP() << "no CPU limits on this machine";
  Resources resources;
  resources.cpu_millicores = 500;
  const Bundle bundle{.argv = {"python3"},
                      .env = {},
                      .resources = resources,
                      .container = ContainerId{7},
                      .directories = {},
                      .network_path = {},
                      .cgroups = cgroups};
  const auto cpu = nlohmann::json::parse(config_json(bundle))["linux"]["resources"]["cpu"];
  cgroups.remove_parents();
  EXPECT_EQ(cpu["shares"], 512);  // of 1024 for a core
  EXPECT_EQ(cpu["quota"].get<std::int64_t>() / cpu["period"].get<std::int64_t>(), 16);
}

}  // namespace
}  // namespace ember

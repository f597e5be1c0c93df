#include "control/registry_credentials.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

TEST(RegistryCredentials, ARegistryIsNamedOnlyByWhatCanBeAHost) {
  EXPECT_EQ(registry_of("registry.example:5000/team/app:1"), "registry.example:5000");
  EXPECT_EQ(registry_of("localhost/app"), "localhost");
  EXPECT_EQ(registry_of("ghcr.io/team/app@sha256:00"), "ghcr.io");
  for (const char* of_docker : {"python:3.11-slim", "team/app:1", "python"}) {
    EXPECT_EQ(registry_of(of_docker), "docker.io") << of_docker;
  }
}

TEST(RegistryCredentials, ValuesAreFoundInTheirEncodedFormByName) {
  const auto values = SecretValues::parse(JsonValue{{"A", "1"}, {"LONG", "x y"}}, "values");
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(value_in(values->encoded(), "A"), "1");
  EXPECT_EQ(value_in(values->encoded(), "LONG"), "x y");
  EXPECT_EQ(value_in(values->encoded(), "1"), std::nullopt);
  EXPECT_EQ(value_in(values->encoded().substr(0, 7), "A"), std::nullopt);
}

}  // namespace
}  // namespace ember

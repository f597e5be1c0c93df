#include "control/secret_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kCanary = "sk-canary";

std::string refusal(const JsonValue& values) {
  const auto parsed = SecretValues::parse(values, "values");
  if (parsed.ok()) return "accepted";
  EXPECT_THAT(parsed.error().message, Not(HasSubstr(kCanary)));
  return parsed.error().message;
}

std::string use_refusal(const char* json) {
  const auto uses = parse_secret_uses(JsonValue::parse(json), "secrets");
  return uses.ok() ? "accepted" : uses.error().message;
}

TEST(SecretValues, AreEncodedWithTheirLengths) {
  const auto values = SecretValues::parse({{"A", "b"}, {"LONG", ""}}, "values");
  ASSERT_TRUE(values.ok());
  EXPECT_THAT(values->keys(), ElementsAre("A", "LONG"));
  EXPECT_EQ(values->encoded(), std::string_view("\1\0\0\0A\1\0\0\0b\4\0\0\0LONG\0\0\0\0", 22));
}

TEST(SecretValues, AreRefusedWithTheirKeysAndWithoutTheirValues) {
  EXPECT_THAT(refusal(JsonValue::object()), HasSubstr("no keys"));
  EXPECT_THAT(refusal({{"A", 5}}), HasSubstr("values.A must be a text"));
  EXPECT_THAT(refusal({{"1A", kCanary}}), HasSubstr("values.1A"));
  EXPECT_THAT(refusal({{"A", {kCanary}}}), HasSubstr("values.A"));
  EXPECT_THAT(refusal({{"EMBER_A", kCanary}}), HasSubstr("Ember's own"));
  EXPECT_THAT(refusal({{"A", std::string(kCanary) + std::string(1, '\0')}}), HasSubstr("values.A"));
  EXPECT_THAT(refusal({{"A", std::string(32'769, 'x')}}), HasSubstr("32 KiB"));
  JsonValue many;
  for (int i = 0; i < 3; ++i) many["K" + std::to_string(i)] = std::string(32'000, 'x');
  EXPECT_THAT(refusal(many), HasSubstr("65536"));
}

TEST(SecretUses, NameOneSecretOrBringValues) {
  const auto uses = parse_secret_uses(
      JsonValue::parse(R"([{"name": "db", "required_keys": ["A"], "mount": "/run/secrets/db"},
                           {"values": {"B": "sk-canary"}}])"),
      "secrets");
  ASSERT_TRUE(uses.ok()) << uses.error().message;
  ASSERT_EQ(uses->size(), 2u);
  const SecretUse& named = uses->front();
  EXPECT_EQ(
      to_json(named),
      JsonValue::parse(R"({"name": "db", "required_keys": ["A"], "mount": "/run/secrets/db"})"));
  EXPECT_THAT(dump_json(to_json(uses->back())), Not(HasSubstr(kCanary)));
  EXPECT_THAT(uses->back().values.keys(), ElementsAre("B"));
}

TEST(SecretUses, AreRefusedWithTheFieldThatIsWrong) {
  EXPECT_THAT(use_refusal(R"([{}])"), HasSubstr("secrets[0] must have one of"));
  EXPECT_THAT(use_refusal(R"([{"name": "a", "values": {"A": "b"}}])"), HasSubstr("one of"));
  EXPECT_THAT(use_refusal(R"([{"name": "/"}])"), HasSubstr("secrets[0].name"));
  EXPECT_THAT(use_refusal(R"([{"id": "se-1"}])"), HasSubstr("secrets[0].id"));
  EXPECT_THAT(use_refusal(R"([{"name": "a", "required_keys": "A"}])"), HasSubstr("required_keys"));
  EXPECT_THAT(use_refusal(R"([{"name": "a", "required_keys": ["A B"]}])"), HasSubstr("key names"));
  EXPECT_THAT(use_refusal(R"([{"name": "a", "value": 1}])"), HasSubstr("secrets[0].value"));
  JsonValue list = JsonValue::array();
  for (int i = 0; i < 17; ++i) list.push_back({{"name", "a"}});
  EXPECT_FALSE(parse_secret_uses(list, "secrets").ok());
}

TEST(SecretUses, MountBelowOneDirectoryAlone) {
  for (const char* mount : {"/run/secrets/db", "/run/secrets/a/b-1_c.d"}) {
    EXPECT_TRUE(check_secret_mount(mount, "mount").ok()) << mount;
  }
  for (const char* mount :
       {"", "/", "/run", "/run/secrets", "/run/secrets/", "/run/secretsdb", "/run/secrets/db/",
        "/run/secrets//db", "/run/secrets/..", "/run/secrets/../x", "/run/secrets/.db",
        "/run/secrets/a b", "/tmp/db", "run/secrets/db"}) {
    EXPECT_FALSE(check_secret_mount(mount, "mount").ok()) << mount;
  }
}

}  // namespace
}  // namespace ember

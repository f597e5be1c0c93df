// Variants on disk: what a server that starts needs to know of them.
#include <gtest/gtest.h>

#include "store/migrations.h"
#include "store/sqlite.h"
#include "store/store_fixture.h"

namespace ember {
namespace {

VariantRecord variant(std::uint64_t id, std::uint32_t of_version, std::uint64_t pool) {
  return {VariantId{id},  AppId{1},     of_version,         "read",
          FunctionId{70}, PoolId{pool}, R"({"size":"7b"})", R"({"timeout_ms":1})",
          kNoon};
}

ContainerRecord held_by(std::uint64_t pool, Time ended = {}) {
  ContainerRecord record = container(5, ended);
  record.pool = PoolId{pool};
  return record;
}

class StoredVariants : public testing::Test {
 protected:
  // What a server finds that starts after these were written.
  std::vector<VariantRecord> left_by(std::vector<Batch> batches) {
    Snapshot ignored;
    auto store = open_store(directory.path(), ignored);
    for (Batch& batch : batches) EXPECT_TRUE(apply(*store, std::move(batch)).ok());
    store.reset();
    return reopened(directory.path()).variants;
  }
  const TempDirectory directory;
};

TEST_F(StoredVariants, OfTheCurrentVersionComeBackAsTheyWere) {
  const auto found =
      left_by({{app(1, "documents"), version(1, 1)}, {variant(9, 1, 300)}, {variant(9, 1, 301)}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].id, VariantId{9});
  EXPECT_EQ(found[0].app, AppId{1});
  EXPECT_EQ(found[0].version, 1u);
  EXPECT_EQ(found[0].function, "read");
  EXPECT_EQ(found[0].line, FunctionId{70});
  EXPECT_EQ(found[0].pool, PoolId{300});  // written once
  EXPECT_EQ(found[0].parameters_json, R"({"size":"7b"})");
  EXPECT_EQ(found[0].options_json, R"({"timeout_ms":1})");
  EXPECT_EQ(found[0].created, kNoon);
}

TEST_F(StoredVariants, OfAnEarlierVersionComeBackWhileTheirContainersLive) {
  const auto found = left_by(
      {{app(1, "documents"), version(1, 1), variant(8, 1, 300), variant(9, 1, 301), held_by(301)},
       {app(1, "documents", 2), version(1, 2), variant(10, 2, 302)}});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].id, VariantId{9});
  EXPECT_EQ(found[1].id, VariantId{10});
}

TEST_F(StoredVariants, OfAnEarlierVersionGoWhenTheyHaveNothing) {
  const Time later = kNoon + Duration::seconds(9);
  const auto found = left_by({{app(1, "documents"), version(1, 1), variant(9, 1, 301)},
                              {held_by(301, later)},
                              {app(1, "documents", 2), version(1, 2), variant(10, 2, 302)}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].id, VariantId{10});
}

TEST_F(StoredVariants, AreForgottenOneByOne) {
  const auto found =
      left_by({{app(1, "documents"), version(1, 1), variant(8, 1, 300), variant(9, 1, 301)},
               {ForgottenVariant{VariantId{8}}}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].id, VariantId{9});
}

TEST_F(StoredVariants, OfAStoppedAppStayOutOfTheSnapshot) {
  AppRecord stopped = app(1, "documents");
  stopped.stopped = true;
  EXPECT_TRUE(
      left_by({{app(1, "documents"), version(1, 1), variant(9, 1, 301)}, {stopped}}).empty());
}

TEST_F(StoredVariants, AreTakenByAStateFromBeforeThereWereAny) {
  {
    auto database = Database::open(directory.path() + "/state.db");
    ASSERT_TRUE(database.ok());
    ASSERT_TRUE(migrate(*database, 8).ok());
    ASSERT_TRUE(database->execute("INSERT INTO apps VALUES (1, 'documents', 0, 0, 1, 1)").ok());
  }
  const auto found = left_by({{variant(9, 1, 301)}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].pool, PoolId{301});
}

}  // namespace
}  // namespace ember

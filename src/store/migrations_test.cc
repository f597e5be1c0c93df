// A state database of another schema: an older one is brought forward, what cannot be is refused.
#include "store/migrations.h"

#include <gmock/gmock.h>

#include "store/sqlite.h"
#include "store/store_fixture.h"

namespace ember {
namespace {

using testing::HasSubstr;

TEST(Schema, OfTheFirstDatabaseIsBroughtForward) {
  const TempDirectory directory;
  {
    auto database = Database::open(directory.path() + "/state.db");
    ASSERT_TRUE(database.ok());
    ASSERT_TRUE(migrate(*database, 1).ok());
    ASSERT_TRUE(database->execute("INSERT INTO apps VALUES (9, 'old', 0, 0, 4, 1)").ok());
    ASSERT_TRUE(database->execute("INSERT INTO keys VALUES (3, 'old', 'abcd', 1, 2, 1)").ok());
    const char* row =
        "INSERT INTO ledger VALUES (1, 0, 'gpu', 'execute', 9000, 1, 7, 2, 'L4', 9, 'old', 'f', "
        "'', 1, '', 5, 0)";
    ASSERT_TRUE(database->execute(row).ok());
  }
  ASSERT_GT(newest_schema(), 1);
  {
    Snapshot snapshot;
    auto store = open_store(directory.path(), snapshot);
    ASSERT_EQ(snapshot.apps.size(), 1u);
    EXPECT_EQ(snapshot.apps[0].name, "old");
    ASSERT_EQ(snapshot.keys.size(), 1u);
    EXPECT_EQ(snapshot.keys[0].workspace, kDefaultWorkspace);
    EXPECT_EQ(snapshot.keys[0].sha256, "abcd");
    EXPECT_EQ(snapshot.keys[0].expires, Time{2});
    EXPECT_GT(snapshot.keys[0].revoked, kNoon);
    const auto rows = cost(*store, {{}, "", {}, {}});
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].gpu_ms, 7 * 2);
  }

  auto database = Database::open(directory.path() + "/state.db");
  std::int64_t indexes = 0;
  auto query =
      database->prepare("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'ledger_by_time'");
  ASSERT_TRUE(query->each([&](Statement& row) { indexes = row.integer(0); }).ok());
  EXPECT_EQ(indexes, 1);
}

TEST(Schema, OfANewerEmberIsRefused) {
  const TempDirectory directory;
  Snapshot snapshot;
  open_store(directory.path(), snapshot);
  {
    auto database = Database::open(directory.path() + "/state.db");
    ASSERT_TRUE(database->execute("PRAGMA user_version = 999").ok());
  }
  const auto opened = open_sqlite_store(directory.path(), snapshot);
  ASSERT_FALSE(opened.ok());
  EXPECT_THAT(opened.error().message, HasSubstr("newer Ember"));
}

TEST(Schema, ThatIsNoneIsRefused) {
  const TempDirectory directory;
  Snapshot snapshot;
  open_store(directory.path(), snapshot);
  ASSERT_TRUE(
      Database::open(directory.path() + "/state.db")->execute("PRAGMA user_version = -7").ok());
  const auto opened = open_sqlite_store(directory.path(), snapshot);
  ASSERT_FALSE(opened.ok());
  EXPECT_THAT(opened.error().message, HasSubstr("damaged: schema -7"));
}

TEST(Schema, OfAFileThatIsNoDatabaseIsNotFoundAndTheFileNamed) {
  const TempDirectory directory;
  std::FILE* file = std::fopen((directory.path() + "/state.db").c_str(), "w");
  for (int i = 0; i < 1000; ++i) std::fputs("not a database\n", file);
  std::fclose(file);
  Snapshot snapshot;
  const auto opened = open_sqlite_store(directory.path(), snapshot);
  ASSERT_FALSE(opened.ok());
  EXPECT_THAT(opened.error().message, HasSubstr("state.db"));
}

}  // namespace
}  // namespace ember

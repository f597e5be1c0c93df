// The SQLite store on a real disk: durability, idempotence, one writer.
#include "store/store.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fstream>

#include "store/sqlite.h"
#include "store/store_fixture.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Store, GivesBackAfterReopeningWhatWasApplied) {
  const TempDirectory directory;
  Snapshot empty;
  {
    auto store = open_store(directory.path(), empty);
    const KeyRecord key{KeyId{~0ull}, WorkspaceId{1}, "default", "abcd",
                        kNoon,        Time::never(),  Time{}};
    ASSERT_TRUE(apply(*store, {key, app(1, "documents", 2), version(1, 1), version(1, 2),
                               container(5), ledger(5, kNoon, Meter::cpu, 10)})
                    .ok());
  }
  EXPECT_EQ(empty.epoch, 1u);
  EXPECT_TRUE(empty.apps.empty());

  const Snapshot snapshot = reopened(directory.path());
  EXPECT_EQ(snapshot.epoch, 2u);
  ASSERT_EQ(snapshot.keys.size(), 1u);
  EXPECT_EQ(snapshot.keys[0].id, KeyId{~0ull});
  EXPECT_EQ(snapshot.keys[0].expires, Time::never());
  ASSERT_EQ(snapshot.apps.size(), 1u);
  EXPECT_EQ(snapshot.apps[0].version, 2u);
  ASSERT_EQ(snapshot.versions.size(), 2u);
  EXPECT_EQ(snapshot.versions[1].version, 2u);
  ASSERT_EQ(snapshot.versions[1].functions.size(), 2u);
  EXPECT_EQ(snapshot.versions[1].functions[0].name, "read");
  EXPECT_EQ(snapshot.versions[1].functions[0].pool, PoolId{102});
  EXPECT_EQ(snapshot.versions[1].functions[0].spec_json, R"({"gpu":[]})");
  ASSERT_EQ(snapshot.containers.size(), 1u);
  EXPECT_EQ(snapshot.containers[0].function, "read");
  ASSERT_EQ(snapshot.billed.size(), 1u);
  EXPECT_EQ(snapshot.billed[0].container, ContainerId{5});
  EXPECT_EQ(snapshot.billed[0].until, kNoon + Duration::seconds(1));
  EXPECT_EQ(snapshot.billed[0].egress_bytes, 0);
}

TEST(Store, LeavesStoppedAppsVersionsAndEndedContainersOutOfTheSnapshot) {
  const TempDirectory directory;
  Snapshot snapshot;
  {
    auto store = open_store(directory.path(), snapshot);
    AppRecord stopped = app(1, "documents");
    stopped.stopped = true;
    ASSERT_TRUE(apply(*store, {app(1, "documents"), version(1, 1), container(5)}).ok());
    ASSERT_TRUE(apply(*store, {stopped, container(5, kNoon + Duration::seconds(9))}).ok());
  }
  snapshot = reopened(directory.path());
  EXPECT_EQ(snapshot.apps.size(), 1u);
  EXPECT_TRUE(snapshot.versions.empty());
  EXPECT_TRUE(snapshot.containers.empty());
}

TEST(Store, KeepsWhichVersionServesWhichIsTheNewestAndWhyOneWasWithdrawn) {
  const TempDirectory directory;
  Snapshot snapshot;
  {
    auto store = open_store(directory.path(), snapshot);
    AppRecord rolling = app(1, "documents");
    rolling.newest = 2;
    ASSERT_TRUE(apply(*store, {app(1, "documents"), version(1, 1)}).ok());
    ASSERT_TRUE(apply(*store, {rolling, version(1, 2)}).ok());
    ASSERT_TRUE(apply(*store, {WithdrawnVersion{AppId{1}, 2, "no container came up"}}).ok());
    ASSERT_TRUE(apply(*store, {WithdrawnVersion{AppId{1}, 2, "something else"}}).ok());
  }
  snapshot = reopened(directory.path());
  ASSERT_EQ(snapshot.apps.size(), 1u);
  EXPECT_EQ(snapshot.apps[0].version, 1u);
  EXPECT_EQ(snapshot.apps[0].newest, 2u);
  ASSERT_EQ(snapshot.versions.size(), 2u);
  EXPECT_EQ(snapshot.versions[0].withdrawn, "");
  EXPECT_EQ(snapshot.versions[1].withdrawn, "no container came up");
}

TEST(Store, BillsABatchThatIsAppliedTwiceOnce) {
  const TempDirectory directory;
  Snapshot snapshot;
  auto store = open_store(directory.path(), snapshot);
  const Batch batch{app(1, "documents"), version(1, 1), container(5),
                    ledger(5, kNoon, Meter::gpu, 1000), ledger(5, kNoon, Meter::cpu, 10)};
  ASSERT_TRUE(apply(*store, batch).ok());
  ASSERT_TRUE(apply(*store, batch).ok());

  const auto rows = cost(*store, {{CostGroup::meter}, "", {}, {}});
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].keys[0], "cpu");
  EXPECT_EQ(rows[0].amount, Money{10});
  EXPECT_EQ(rows[0].cpu_millicore_ms, 3000);
  EXPECT_FALSE(rows[0].simulated);
  EXPECT_EQ(rows[1].amount, Money{1000});
  EXPECT_EQ(rows[1].gpu_ms, 3000);
  EXPECT_TRUE(rows[1].simulated);
}

TEST(Store, AddsUpTheBytesOfEgressForBillsAndForWhatIsBilledSoFar) {
  const TempDirectory directory;
  Snapshot snapshot;
  {
    auto store = open_store(directory.path(), snapshot);
    LedgerRecord first = ledger(5, kNoon, Meter::egress, 3);
    LedgerRecord second = ledger(5, kNoon + Duration::seconds(1), Meter::egress, 0);
    first.row.quantity = 5'000'000'000;
    first.row.units = second.row.units = 1;
    second.row.quantity = 7;
    second.row.window_end = second.row.window_start;
    const Batch batch{app(1, "documents"),
                      version(1, 1),
                      container(5),
                      ledger(5, kNoon, Meter::cpu, 10),
                      first,
                      second};
    ASSERT_TRUE(apply(*store, batch).ok());
    const auto rows = cost(*store, {{}, "", {}, {}});
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].egress_bytes, 5'000'000'007);
    EXPECT_EQ(rows[0].cpu_millicore_ms, 3000);
    EXPECT_EQ(rows[0].amount, Money{13});
  }
  snapshot = reopened(directory.path());
  ASSERT_EQ(snapshot.billed.size(), 1u);
  EXPECT_EQ(snapshot.billed[0].until, kNoon + Duration::seconds(1));
  EXPECT_EQ(snapshot.billed[0].egress_bytes, 5'000'000'007);
}

TEST(Store, KeepsLeasesUntilTheyEndAndBillsThemApart) {
  const TempDirectory directory;
  const LeaseRecord lease{LeaseId{77},
                          KeyId{4},
                          "alice",
                          NodeId{2},
                          {DeviceId{8}, DeviceId{9}},
                          "L4",
                          kNoon,
                          kNoon + Duration::seconds(60),
                          {}};
  LedgerRecord row = ledger(0, kNoon, Meter::gpu, 10);
  row.row.lease = lease.id;
  row.row.phase = Phase::leased;
  row.app_name = "(leases)";
  row.function = "alice";
  {
    Snapshot snapshot;
    auto store = open_store(directory.path(), snapshot);
    ASSERT_TRUE(apply(*store, {lease, row, row}).ok());
    const auto rows = cost(*store, {{CostGroup::app, CostGroup::function}, "", {}, {}});
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].keys, (std::vector<std::string>{"(leases)", "alice"}));
    EXPECT_EQ(rows[0].gpu_ms, 3000);
  }
  Snapshot snapshot;
  {
    auto store = open_store(directory.path(), snapshot);
    ASSERT_EQ(snapshot.leases.size(), 1u);
    EXPECT_EQ(snapshot.leases[0].devices, lease.devices);
    EXPECT_EQ(snapshot.leases[0].holder, "alice");
    EXPECT_EQ(snapshot.leases[0].until, lease.until);
    ASSERT_EQ(snapshot.leases_billed.size(), 1u);
    EXPECT_EQ(snapshot.leases_billed[0].until, kNoon + Duration::seconds(1));
    LeaseRecord ended = lease;
    ended.ended = kNoon + Duration::seconds(2);
    ASSERT_TRUE(apply(*store, {ended, lease}).ok());
  }
  EXPECT_TRUE(reopened(directory.path()).leases.empty());
}

TEST(Store, CountsAShareOfADeviceAsItsPartOfTheTime) {
  const TempDirectory directory;
  Snapshot snapshot;
  auto store = open_store(directory.path(), snapshot);
  LedgerRecord row = ledger(5, kNoon, Meter::gpu, 10);
  row.row.units = 1;
  row.row.quantity = 4000;
  row.row.share_bytes = 6'000'000'000;
  row.row.device_bytes = 24'000'000'000;
  ASSERT_TRUE(apply(*store, {app(1, "documents"), version(1, 1), container(5), row}).ok());
  EXPECT_EQ(cost(*store, {{}, "", {}, {}})[0].gpu_ms, 1000);
}

TEST(Store, NeverUndoesAContainersEnd) {
  const TempDirectory directory;
  Snapshot snapshot;
  {
    auto store = open_store(directory.path(), snapshot);
    ASSERT_TRUE(apply(*store, {container(5, kNoon + Duration::seconds(1)), container(5)}).ok());
  }
  EXPECT_TRUE(reopened(directory.path()).containers.empty());
}

TEST(Store, CutsTheSameTotalWhicheverWayItIsAsked) {
  const TempDirectory directory;
  Snapshot snapshot;
  auto store = open_store(directory.path(), snapshot);
  Batch batch;
  for (int day = 0; day < 3; ++day) {
    const Time at = kNoon + Duration::seconds(86'400) * day;
    batch.push_back(ledger(5, at, Meter::gpu, 7 + day));
    batch.push_back(ledger(5, at, Meter::memory, 1));
  }
  ASSERT_TRUE(apply(*store, std::move(batch)).ok());

  for (const std::vector<CostGroup>& by :
       {std::vector<CostGroup>{}, {CostGroup::day}, {CostGroup::phase, CostGroup::meter}}) {
    Money total;
    for (const CostRow& row : cost(*store, {by, "documents", {}, {}})) total += row.amount;
    EXPECT_EQ(total, Money{27});
  }
  const auto days = cost(*store, {{CostGroup::day}, "", kNoon + Duration::seconds(1), {}});
  ASSERT_EQ(days.size(), 2u);
  EXPECT_EQ(days[0].keys[0], "2025-11-26");
  EXPECT_EQ(days[0].memory_mib_ms, 2000);
  EXPECT_TRUE(cost(*store, {{CostGroup::app}, "another", {}, {}}).empty());
}

TEST(Store, ReadsOneVersionAndSaysWhenThereIsNone) {
  const TempDirectory directory;
  Snapshot snapshot;
  auto store = open_store(directory.path(), snapshot);
  ASSERT_TRUE(
      apply(*store, {app(1, "documents"), version(1, 1), version(1, 2), version(1, 3)}).ok());
  const auto query = [&](std::uint32_t number) {
    std::promise<Result<VersionRecord>> promise;
    store->query_version(AppId{1}, number,
                         [&](auto found) { promise.set_value(std::move(found)); });
    return promise.get_future().get();
  };
  const auto found = query(2);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->functions[1].pool, PoolId{202});
  const auto missing = query(9);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  std::promise<std::size_t> count;
  store->query_versions(AppId{1}, [&](auto all) { count.set_value(all->size()); });
  EXPECT_EQ(count.get_future().get(), 3u);
}

TEST(Store, FindsAContainerAndSaysWhenThereIsNone) {
  const TempDirectory directory;
  Snapshot snapshot;
  auto store = open_store(directory.path(), snapshot);
  const ContainerId id{~0ull};
  ASSERT_TRUE(
      apply(*store, {ContainerRecord{id, PoolId{2}, AppId{1}, "read", kNoon, Time{}, ""}}).ok());
  const auto query = [&](ContainerId wanted) {
    std::promise<Result<ContainerRecord>> promise;
    store->query_container(wanted, [&](auto found) { promise.set_value(std::move(found)); });
    return promise.get_future().get();
  };
  const auto found = query(id);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->started, kNoon);
  const auto missing = query(ContainerId{5});
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
}

TEST(Store, FailsAClashingBatchAloneAndWhole) {
  const TempDirectory directory;
  Snapshot snapshot;
  {
    auto store = open_store(directory.path(), snapshot);
    ASSERT_TRUE(apply(*store, {app(1, "documents")}).ok());
    // Queued together, so that they share a commit.
    std::promise<Result<>> clash, good;
    store->apply({app(3, "before"), app(2, "documents")},
                 [&](Result<> result) { clash.set_value(std::move(result)); });
    store->apply({app(4, "after")}, [&](Result<> result) { good.set_value(std::move(result)); });
    const auto clashed = clash.get_future().get();
    ASSERT_FALSE(clashed.ok());
    EXPECT_EQ(clashed.error().code, ErrorCode::conflict);
    EXPECT_TRUE(good.get_future().get().ok());
  }
  std::vector<std::string> names;
  for (const AppRecord& record : reopened(directory.path()).apps) names.push_back(record.name);
  EXPECT_THAT(names, ElementsAre("documents", "after"));
}

TEST(Store, FinishesWhatWasAppliedBeforeItCloses) {
  const TempDirectory directory;
  Snapshot snapshot;
  int answered = 0;
  {
    auto store = open_store(directory.path(), snapshot);
    for (std::uint64_t i = 1; i <= 500; ++i) {
      store->apply({app(i, "app-" + std::to_string(i))}, [&](Result<> r) { answered += r.ok(); });
    }
  }
  EXPECT_EQ(answered, 500);
  EXPECT_EQ(reopened(directory.path()).apps.size(), 500u);
}

TEST(Store, RefusesASecondServerAndNamesTheFirst) {
  const TempDirectory directory;
  Snapshot snapshot;
  auto store = open_store(directory.path(), snapshot);
  auto second = open_sqlite_store(directory.path(), snapshot);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_THAT(second.error().message, HasSubstr(std::to_string(::getpid())));
  EXPECT_THAT(second.error().message, HasSubstr(directory.path()));

  store.reset();
  EXPECT_TRUE(open_sqlite_store(directory.path(), snapshot).ok());
}

TEST(Store, StopsWritingWhenAnotherServerHasTakenTheDirectoryOver) {
  const TempDirectory directory;
  Snapshot snapshot;
  auto first = open_store(directory.path(), snapshot);
  std::filesystem::remove(directory.path() + "/lock");  // somebody "cleans up"
  auto second = open_store(directory.path(), snapshot);
  const auto late = apply(*first, {app(1, "late")});
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::unavailable);
  EXPECT_TRUE(apply(*second, {app(2, "in-time")}).ok());
}

// Writes apps until it is killed, telling through the pipe which are durable.
[[noreturn]] void write_until_killed(const std::string& directory, int pipe) {
  Snapshot snapshot;
  auto store = open_sqlite_store(directory, snapshot);
  if (!store.ok()) ::_exit(1);
  for (std::uint64_t i = 1;; ++i) {
    (*store)->apply({app(i, "app-" + std::to_string(i)), version(i, 1)},
                    [pipe, i](Result<> result) {
                      if (result.ok()) (void)!::write(pipe, &i, sizeof i);
                    });
    if (i % 64 == 0) ::usleep(1000);  // keeps the queue short: what is queued may be lost
  }
}

TEST(Store, KeepsEveryAcknowledgedBatchThroughAKill) {
  const TempDirectory directory;
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const pid_t child = ::fork();
  if (child == 0) write_until_killed(directory.path(), pipe[1]);
  ::close(pipe[1]);

  std::uint64_t acknowledged = 0, read = 0;
  while (acknowledged < 300 && ::read(pipe[0], &read, sizeof read) == sizeof read)
    acknowledged = read;
  ::kill(child, SIGKILL);
  while (::read(pipe[0], &read, sizeof read) == sizeof read) acknowledged = read;
  ::close(pipe[0]);
  ::waitpid(child, nullptr, 0);
  ASSERT_GE(acknowledged, 300u);

  const Snapshot snapshot = reopened(directory.path());
  EXPECT_EQ(snapshot.epoch, 2u);
  EXPECT_GE(snapshot.apps.size(), acknowledged);
  EXPECT_EQ(snapshot.versions.size(), snapshot.apps.size()) << "a batch was applied in part";
}

// Makes files of this process unable to grow, as a full disk does.
class FullDisk {
 public:
  FullDisk() {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit none = before_;
    none.rlim_cur = 4096;
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, SIG_DFL);
  }

 private:
  rlimit before_{};
};

TEST(Store, SaysThatTheDiskTakesNoWritesAndGoesOnWhenItDoes) {
  const TempDirectory directory;
  Snapshot snapshot;
  {
    auto store = open_store(directory.path(), snapshot);
    ASSERT_TRUE(apply(*store, {app(1, "before")}).ok());
    {
      const FullDisk full;
      const auto refused = apply(*store, {app(2, "refused")});
      ASSERT_FALSE(refused.ok());
      EXPECT_EQ(refused.error().code, ErrorCode::storage_failed);
      EXPECT_THAT(refused.error().message, HasSubstr(directory.path() + "/state.db"));
    }
    EXPECT_TRUE(apply(*store, {app(3, "after")}).ok());
  }
  std::vector<std::string> names;
  for (const AppRecord& record : reopened(directory.path()).apps) names.push_back(record.name);
  EXPECT_THAT(names, ElementsAre("before", "after"));
}

TEST(Store, KeepsThatAKeyWasRevokedUntilItIsForgotten) {
  const TempDirectory directory;
  KeyRecord key{KeyId{3}, kDefaultWorkspace, "ci", "abcd", kNoon, Time::never(), Time{}};
  const KeyRecord usable = key;
  key.revoked = kNoon + Duration::seconds(1);
  Snapshot snapshot;
  {
    auto store = open_store(directory.path(), snapshot);
    ASSERT_TRUE(apply(*store, {usable, key, usable}).ok());
  }
  snapshot = reopened(directory.path());
  ASSERT_EQ(snapshot.keys.size(), 1u);
  EXPECT_EQ(snapshot.keys[0].revoked, key.revoked);
  {
    auto store = open_store(directory.path(), snapshot);
    ASSERT_TRUE(apply(*store, {ForgottenKey{KeyId{3}}, ForgottenKey{KeyId{4}}}).ok());
  }
  EXPECT_TRUE(reopened(directory.path()).keys.empty());
}

SecretRecord secret(std::uint64_t id, std::uint32_t version, std::string name) {
  return {SecretId{id}, version, kDefaultWorkspace, std::move(name), {}, kNoon, {"A", "B"}, "box"};
}

TEST(Store, KeepsTheValuesOfASecretsNewestVersionAlone) {
  const TempDirectory directory;
  Snapshot snapshot;
  {
    auto store = open_store(directory.path(), snapshot);
    ASSERT_TRUE(apply(*store, {secret(1, 1, "db"), secret(2, 1, "mail")}).ok());
    ASSERT_TRUE(apply(*store, {secret(1, 2, "db")}).ok());
    ASSERT_TRUE(apply(*store, {secret(1, 1, "db")}).ok()) << "late and doubled";
    EXPECT_FALSE(apply(*store, {secret(3, 1, "mail")}).ok()) << "a name belongs to one";
    EXPECT_FALSE(apply(*store, {secret(2, 1, "other")}).ok()) << "and an id";
  }
  snapshot = reopened(directory.path());
  ASSERT_EQ(snapshot.secrets.size(), 3u);
  EXPECT_EQ(snapshot.secrets[0].version, 1u);
  EXPECT_EQ(snapshot.secrets[0].sealed, "");
  EXPECT_EQ(snapshot.secrets[1].version, 2u);
  EXPECT_EQ(snapshot.secrets[1].sealed, "box");
  EXPECT_EQ(snapshot.secrets[1].keys, (std::vector<std::string>{"A", "B"}));
  EXPECT_EQ(snapshot.secrets[1].created, kNoon);
  EXPECT_EQ(snapshot.secrets[2].name, "mail");
}

TEST(Store, ForgetsASecretAndItsOldestVersions) {
  const TempDirectory directory;
  Snapshot snapshot;
  {
    auto store = open_store(directory.path(), snapshot);
    Batch batch;
    for (std::uint32_t version = 1; version <= kMostSecretVersions + 5; ++version) {
      batch.emplace_back(secret(1, version, "db"));
    }
    SecretRecord anonymous = secret(2, 1, "");
    anonymous.app = AppId{7};
    batch.emplace_back(anonymous);
    batch.emplace_back(secret(3, 1, "mail"));
    batch.emplace_back(ForgottenSecret{SecretId{3}});
    ASSERT_TRUE(apply(*store, batch).ok());
  }
  snapshot = reopened(directory.path());
  ASSERT_EQ(snapshot.secrets.size(), kMostSecretVersions + 1);
  EXPECT_EQ(snapshot.secrets[0].version, 6u);
  EXPECT_EQ(snapshot.secrets.back().app, AppId{7});
}

TEST(Store, LeavesNothingOfValuesThatAreErasedInItsFiles) {
  const TempDirectory directory;
  const auto is_kept = [&](const std::string& sealed) {
    std::ifstream file(directory.path() + "/state.db", std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    return bytes.find(sealed.substr(0, 100)) != std::string::npos;  // the rest is on other pages
  };
  const std::string replaced(5'000, 'R'), forgotten(5'000, 'F'), newest(5'000, 'N');
  Snapshot snapshot;
  SecretRecord one = secret(1, 1, "db"), next = secret(1, 2, "db"), other = secret(2, 1, "mail");
  one.sealed = replaced;
  next.sealed = newest;
  other.sealed = forgotten;
  ASSERT_TRUE(apply(*open_store(directory.path(), snapshot), {one, other}).ok());
  EXPECT_TRUE(is_kept(replaced) && is_kept(forgotten));
  ASSERT_TRUE(
      apply(*open_store(directory.path(), snapshot), {next, ForgottenSecret{SecretId{2}}}).ok());
  EXPECT_TRUE(is_kept(newest));
  EXPECT_FALSE(is_kept(replaced));
  EXPECT_FALSE(is_kept(forgotten));
}

}  // namespace
}  // namespace ember

// What the tests of the store share: directories, records, and waiting for what it answers.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/store.h"

namespace ember {

inline constexpr Time kNoon{1'764'072'000'000'000};  // 2025-11-25 12:00 UTC

class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = testing::TempDir() + "ember-store-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::unique_ptr<Store> open_store(const std::string& directory, Snapshot& snapshot) {
  auto store = open_sqlite_store(directory, snapshot);
  EXPECT_TRUE(store.ok()) << (store.ok() ? "" : store.error().message);
  return store.ok() ? std::move(store).value() : nullptr;
}

inline Snapshot reopened(const std::string& directory) {
  Snapshot snapshot;
  open_store(directory, snapshot);
  return snapshot;
}

inline Result<> apply(Store& store, Batch batch) {
  std::promise<Result<>> promise;
  store.apply(std::move(batch), [&](Result<> result) { promise.set_value(std::move(result)); });
  return promise.get_future().get();
}

inline std::vector<CostRow> cost(Store& store, CostQuery query) {
  std::promise<std::vector<CostRow>> promise;
  query.until = Time::never();
  store.query_cost(std::move(query), [&](Result<std::vector<CostRow>> rows) {
    promise.set_value(std::move(rows).value());
  });
  return promise.get_future().get();
}

inline AppRecord app(std::uint64_t id, std::string name, std::uint32_t version = 1) {
  return {AppId{id}, std::move(name), false, false, version, kNoon};
}

inline VersionRecord version(std::uint64_t app_id, std::uint32_t number) {
  FunctionRecord read{FunctionId{7}, PoolId{100 * app_id + number}, "read", R"({"gpu":[]})"};
  FunctionRecord sum{FunctionId{8}, PoolId{200 * app_id + number}, "sum", "{}"};
  return {AppId{app_id}, number, kNoon, "src-1", "deploy", {read, sum}};
}

inline ContainerRecord container(std::uint64_t id, Time ended = {}) {
  return {ContainerId{id}, PoolId{101}, AppId{1}, "read", kNoon, ended, ended.us ? "idle" : ""};
}

inline LedgerRecord ledger(std::uint64_t container_id, Time start, Meter meter,
                           std::int64_t nano_usd) {
  LedgerRecord record;
  record.row = {ContainerId{container_id},
                PoolId{101},
                meter,
                Phase::execute,
                start,
                start + Duration::seconds(1),
                1000,
                meter == Meter::memory ? 2 << 20 : 3,
                meter == Meter::gpu ? "L4" : ""};
  record.app = AppId{1};
  record.app_name = "documents";
  record.function = "read";
  record.price = {3'600'000'000};
  record.price_source = "a test";
  record.amount = {nano_usd};
  record.simulated = meter == Meter::gpu;
  return record;
}

}  // namespace ember

// covers: src/store/sqlite.cc src/store/reads.cc src/store/migrations.cc
// covers: src/store/inspection.cc
// covers: src/control/log_files.cc src/control/log_reader.cc src/node/container_files.cc
//
// What we find on disk at a start: a state database in which bytes have changed, log files, and
// what a node keeps of its containers. A fault is told or left out; nothing is invented.
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>

#include "base/assert.h"
#include "control/function_spec.h"
#include "control/log_files.h"
#include "node/container_files.h"
#include "store/inspection.h"
#include "store/migrations.h"
#include "store/reads.h"
#include "targets.h"

namespace ember::fuzz {
namespace {

namespace fs = std::filesystem;

class Directory {
 public:
  Directory() {
    std::string pattern =
        (fs::exists("/dev/shm") ? "/dev/shm" : "/tmp") + std::string("/ember-fuzz-XXXXXX");
    EMBER_ASSERT(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string path(const char* below) const { return path_ + below; }

 private:
  std::string path_;
};

const Directory& directory() {
  static const Directory kDirectory;
  return kDirectory;
}

void write(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string spec_json() {
  FunctionSpec spec;
  spec.name = spec.qualname = "add";
  spec.module = "app";
  return dump_json(to_json(spec));
}

Batch a_batch() {
  LedgerRecord entry;
  entry.row.container = ContainerId{5};
  entry.row.window_start = Time{1000};
  entry.row.window_end = Time{2000};
  entry.row.quantity = 1;
  entry.app = AppId{1};
  entry.app_name = "shop";
  entry.function = "add";
  entry.amount = Money{7};
  return {KeyRecord{KeyId{1}, kDefaultWorkspace, "first", std::string(64, 'a'), Time{1},
                    Time::never(), Time{}},
          AppRecord{AppId{1}, "shop", false, false, 1, Time{1}},
          VersionRecord{AppId{1},
                        1,
                        Time{1},
                        "src-" + std::string(32, '0'),
                        "deploy",
                        {{FunctionId{2}, PoolId{3}, "add", spec_json()}}},
          ContainerRecord{ContainerId{5}, PoolId{3}, AppId{1}, "add", Time{1}, Time{}, ""}, entry};
}

// A small database as a server leaves it, in bytes.
std::string make_database() {
  const std::string home = directory().path("/made");
  Snapshot snapshot;
  auto store = open_sqlite_store(home, snapshot);
  EMBER_ASSERT(store.ok());
  std::promise<bool> written;
  (*store)->apply(a_batch(), [&](Result<> result) { written.set_value(result.ok()); });
  EMBER_ASSERT(written.get_future().get());
  store->reset();  // all of it is now in the one file
  std::ifstream file(home + "/state.db", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void read_everything(Database& database) {
  Snapshot snapshot;
  (void)read_snapshot(database, snapshot).ok();
  for (const VersionRecord& version : snapshot.versions) {
    for (const FunctionRecord& function : version.functions) {
      const auto text = parse_json(function.spec_json, "spec", function.spec_json.size());
      if (text.ok()) (void)parse_function_spec(*text, "").ok();
    }
  }
  (void)read_versions(database, AppId{1}).ok();
  CostQuery query{{CostGroup::app, CostGroup::day, CostGroup::meter}, "", Time{}, Time::never()};
  (void)read_cost(database, query).ok();
}

// Each three bytes of the input change one of the database: two for the place, one for its value.
void database(std::string_view changes) {
  static const std::string kWhole = make_database();
  std::string bytes = kWhole;
  for (; changes.size() >= 3; changes.remove_prefix(3)) {
    std::uint16_t place;
    std::memcpy(&place, changes.data(), sizeof place);
    // In the two pages with the most in them, and elsewhere, half of the time each.
    bytes[place * (place % 2 == 0 ? 1u : 7u) % bytes.size()] = changes[2];
  }
  const std::string path = directory().path("/state.db");
  for (const char* beside : {"-wal", "-shm"}) ::unlink((path + beside).c_str());
  write(path, bytes);
  (void)inspect_state(
      path, [](const ContainerRecord&, const std::vector<LedgerRecord>&) {},
      [](const LeaseRecord&, const std::vector<LedgerRecord>&) {}, [](const LedgerRecord&) {})
      .ok();
  auto opened = Database::open(path);
  if (!opened.ok()) return;
  if (migrate(*opened, newest_schema()).ok()) read_everything(*opened);
}

void log_lines(std::string_view text) {
  const std::string home = directory().path("/logs");
  fs::remove_all(home);
  fs::create_directories(home + "/shop");
  write(home + "/shop/ct-0000000000001.log", text);
  LogQuery query;
  query.app = "shop";
  query.last = text.size() + 1;
  const std::vector<LogLine> lines = read_logs(home, query, Time::never());
  EMBER_ASSERT(lines.size() <= text.size());
  for (std::size_t i = 1; i < lines.size(); ++i) EMBER_ASSERT(lines[i - 1].at <= lines[i].at);
}

void container_files(std::string_view text) {
  const std::string home = directory().path("/node");
  const ContainerFiles files(home, ContainerId{7});
  fs::create_directories(files.directory());
  for (const char* name : {"/meta.json", "/exit.json", "/network"}) {
    write(files.directory() + name, text);
  }
  (void)files.read_record().ok();
  (void)files.read_exit().has_value();
  (void)files.read_network().has_value();
  EMBER_ASSERT(containers_on_disk(home).size() == 1);
}

constexpr void (*kReaders[])(std::string_view) = {database, log_lines, container_files};

}  // namespace

void records(std::string_view bytes) {
  const Input input(bytes);
  kReaders[input.choice % std::size(kReaders)](input.rest);
}

}  // namespace ember::fuzz

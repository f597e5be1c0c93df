// Restarts of either side, and the bill through them: every millisecond of a container's life is in
// the ledger once.
#include "control/control_fixture.h"
#include "control/flaky_store.h"

namespace ember {
namespace {

using testing::HasSubstr;

constexpr const char* kOneL4 = R"("gpu": ["L4"], "scaledown_window_ms": 3600000)";

class Restarts : public ControlTest {
 protected:
  Store& wrapped_store() override { return flaky; }

  std::int64_t billed_gpu_ms() {
    const auto rows = bill({});
    return rows.empty() ? 0 : rows[0].gpu_ms;
  }
  std::int64_t billed_egress_bytes() {
    const auto rows = bill({});
    return rows.empty() ? 0 : rows[0].egress_bytes;
  }
  // Lets the present window end and what is in it reach the disk.
  void until_egress_is_billed(std::int64_t bytes) {
    pass(Duration::seconds(61));
    until([&] {
      clock.advance(Duration::milliseconds(100));
      return billed_egress_bytes() >= bytes;
    });
    EXPECT_EQ(billed_egress_bytes(), bytes);
  }
  // Lets what is recorded reach the disk.
  void flush() {
    pass(Duration::seconds(1));
    const std::size_t acknowledged = node.unacknowledged.size();
    for (int i = 0; i < 50; ++i) turn();
    EXPECT_LE(node.unacknowledged.size(), acknowledged);
  }
  void stop_docs() {
    ASSERT_TRUE(wait_for<std::string>([&](auto done) { control->stop_app("docs", done); }).ok());
    until([&] { return node.containers.empty(); });
  }
  void until_acknowledged() {
    until([&] {
      clock.advance(Duration::milliseconds(100));
      return node.unacknowledged.empty();
    });
  }
  // One container with a GPU that has run a call of `echo`: when it started.
  Time start_idle() {
    must_deploy("docs", {function("echo", kOneL4)});
    Caller caller;
    call("docs", "echo", caller);
    return node.only().started;
  }
  // The server dies after the node has started a container, and before that is written down: when
  // the container started.
  Time die_before_it_is_written() {
    must_deploy("docs", {function("slow", kOneL4)});
    flaky.full = true;
    Caller caller;
    must_start("docs", "slow", caller);
    until_running();
    const Time started = node.only().started;
    close();
    flaky.full = false;
    return started;
  }
  // When the container ended whose end the node tells of.
  Time ended_at() const { return node.unacknowledged.begin()->second.at; }
  // Of all that was billed, once the last end is on disk.
  void expect_billed(Time started, Time ended) {
    until_acknowledged();
    EXPECT_EQ(billed_gpu_ms(), (ended - started).whole_ms());
  }
  void expect_no_container_on_disk() {
    Snapshot snapshot;
    ASSERT_TRUE(open_sqlite_store(directory.path(), snapshot).ok());
    EXPECT_TRUE(snapshot.containers.empty());
  }

  FlakyStore flaky{store};
};

TEST_F(Restarts, BillEveryMillisecondOfALifeOnce) {
  const Time started = start_idle();
  for (int minute = 0; minute < 5; ++minute) pass(Duration::seconds(61));
  stop_docs();
  expect_billed(started, ended_at());
  const auto gpu_ms = [&](const std::string& phase) {
    for (const CostRow& row : bill({CostGroup::phase, CostGroup::meter})) {
      if (row.keys == std::vector<std::string>{phase, "gpu"}) return row.gpu_ms;
    }
    return std::int64_t{-1};
  };
  EXPECT_EQ(gpu_ms("boot"), 300);
  EXPECT_EQ(gpu_ms("load"), 200);
  const JsonValue cost = json(*wait_for<std::string>(
      [&](auto done) { control->cost_json("app,meter", "docs", Time{0}, Time::never(), done); }));
  EXPECT_EQ(cost["rows"].size(), 3u);
  EXPECT_EQ(cost["rows"][1]["meter"], "gpu");
  EXPECT_TRUE(cost["rows"][1]["simulated"]);
}

TEST_F(Restarts, ABillHoldsWhatEndedJustBeforeIt) {
  const Time started = start_idle();
  stop_docs();
  const Time ended = ended_at();
  // No time passes on the clock, so nothing is written by and by.
  const JsonValue cost = json(*wait_for<std::string>(
      [&](auto done) { control->cost_json("app", "docs", Time{0}, Time::never(), done); }));
  ASSERT_EQ(cost["rows"].size(), 1u);
  EXPECT_EQ(cost["rows"][0]["gpu_ms"], (ended - started).whole_ms());
}

TEST_F(Restarts, AdoptContainersAndBillThemWithoutAGap) {
  must_deploy("docs", {function("echo", kOneL4)});
  Caller before, after;
  call("docs", "echo", before);
  const Time started = node.only().started;
  flush();
  close();
  clock.advance(Duration::seconds(100));
  open();
  node.reconnect_runners();
  call("docs", "echo", after, "again");
  ASSERT_TRUE(after.result);
  EXPECT_EQ(after.result->bytes, "again");
  EXPECT_EQ(after.report.container, before.report.container);
  EXPECT_FALSE(after.report.cold);
  EXPECT_EQ(node.containers.size(), 1u);
  EXPECT_THAT(control->containers_json(), HasSubstr("outlived"));

  stop_docs();
  expect_billed(started, ended_at());
}

TEST_F(Restarts, StartNoSecondContainerForAMinimumThatSurvived) {
  must_deploy("docs", {function("echo", R"("min_containers": 1, "max_containers": 1)")});
  until([&] { return node.containers.size() == 1 && node.only().loaded; });
  flush();
  close();
  open();
  node.reconnect_runners();
  for (int i = 0; i < 50; ++i) turn();
  EXPECT_EQ(node.containers.size(), 1u);
}

TEST_F(Restarts, BillAContainerThatEndedMeanwhileToItsEnd) {
  const Time started = start_idle();
  flush();
  close();
  clock.advance(Duration::seconds(7));
  const Time ended = clock.now();
  node.end(node.ids()[0], 1);
  clock.advance(Duration::seconds(50));
  open();
  expect_billed(started, ended);
  close();
  expect_no_container_on_disk();
}

TEST_F(Restarts, BillNothingBeyondTheEndHoweverLateItIsHeardOf) {
  const Time started = start_idle();
  flush();
  close();
  clock.advance(Duration::seconds(7));
  const Time ended = clock.now();
  node.end(node.ids()[0], 1);
  clock.advance(Duration::seconds(600));
  open();
  expect_billed(started, ended);
}

TEST_F(Restarts, BillTheLifeOfAContainerThatWasNeverWrittenDown) {
  const Time started = die_before_it_is_written();
  clock.advance(Duration::seconds(90));
  open();
  until([&] { return node.containers.empty(); });
  expect_billed(started, ended_at());
  close();
  expect_no_container_on_disk();
}

TEST_F(Restarts, AskTheStoreAgainWhoAContainerWasThatHasEnded) {
  const Time started = die_before_it_is_written();
  flaky.mute = true;
  open();
  until([&] { return node.containers.empty(); });
  const Time ended = ended_at();
  flush();
  EXPECT_EQ(node.unacknowledged.size(), 1u);
  flaky.mute = false;
  expect_billed(started, ended);
}

TEST_F(Restarts, BillAnUnwrittenContainerOfAnEarlierVersionThatEndedMeanwhile) {
  must_deploy("docs", {function("slow", kOneL4)});
  flaky.full = true;
  Caller caller;
  must_start("docs", "slow", caller);
  until_running();
  const Time started = node.only().started;
  flaky.full = false;
  const ContainerId id = node.ids()[0];
  must_deploy("docs", {function("echo")});
  flaky.full = true;
  close();
  flaky.full = false;
  clock.advance(Duration::seconds(30));
  const Time ended = clock.now();
  if (node.containers.contains(id)) node.end(id, 1);
  open();
  expect_billed(started, ended);
}

// The node tells an end again when it has not heard that it was taken.
TEST_F(Restarts, BillAnUnwrittenContainerOfAnEarlierVersionsVariantByItsOwnOptions) {
  must_deploy("docs", {function("slow", R"("scaledown_window_ms": 3600000)")});
  const auto made = wait_for<std::string>([&](auto done) {
    control->make_variant("docs", "slow", R"({"options": {"gpu": ["L4"]}})", done);
  });
  ASSERT_TRUE(made.ok()) << made.error().message;
  const std::string variant = json(*made)["variant"];
  flaky.full = true;
  Caller caller;
  ASSERT_TRUE(
      control->start_call({"docs", "slow", {BodyFormat::json, "{}"}, {}, variant}, &caller).ok());
  until_running();
  const Time started = node.only().started;
  const ContainerId id = node.ids()[0];
  flaky.full = false;
  must_deploy("docs", {function("echo")});
  flaky.full = true;
  close();
  flaky.full = false;
  clock.advance(Duration::seconds(30));
  const Time ended = clock.now();
  node.end(id, 1);
  open();
  expect_billed(started, ended);
}

TEST_F(Restarts, BillAnEndThatIsToldTwiceOnce) {
  const Time started = start_idle();
  const ContainerId id = node.ids()[0];
  node.end(id, 1);
  const ContainerExit exit = node.unacknowledged.at(id);
  node.lose();
  node.connect();  // while the first word of it is on its way to the disk
  expect_billed(started, exit.at);
  for (const bool restart : {false, true}) {
    if (restart) close();
    node.unacknowledged[id] = exit;
    if (restart) {
      open();
    } else {
      node.connect();
    }
    until_acknowledged();
    flush();
    EXPECT_EQ(billed_gpu_ms(), (exit.at - started).whole_ms()) << restart;
  }
}

TEST_F(Restarts, BillEachByteThatLeavesAContainerOnce) {
  must_deploy("docs", {function("echo", kOneL4)});
  Caller before, after;
  call("docs", "echo", before);
  node.only().egress_bytes = 1'000'000;
  node.tell_egress();
  node.tell_egress();
  until_egress_is_billed(1'000'000);
  node.only().egress_bytes = 3'000'000;
  node.tell_egress();  // and is not on disk when the server dies
  close();
  node.only().egress_bytes = 4'000'000;
  open();
  node.reconnect_runners();
  call("docs", "echo", after, "again");
  node.lose();
  node.connect();
  until_egress_is_billed(4'000'000);
  node.only().egress_bytes = 5'000'000;  // of which its end is the only word
  stop_docs();
  until_acknowledged();
  EXPECT_EQ(billed_egress_bytes(), 5'000'000);

  const JsonValue cost = json(*wait_for<std::string>(
      [&](auto done) { control->cost_json("meter", "docs", Time{0}, Time::never(), done); }));
  EXPECT_EQ(cost["rows"][1]["meter"], "egress");
  EXPECT_EQ(cost["rows"][1]["egress_bytes"], 5'000'000);
  EXPECT_EQ(cost["rows"][1]["usd"], "0.000450000");
  EXPECT_EQ(cost["rows"][0]["egress_bytes"], 0);
}

TEST_F(Restarts, BillWhatLeftAContainerThatEndedMeanwhile) {
  must_deploy("docs", {function("echo", kOneL4)});
  Caller caller;
  call("docs", "echo", caller);
  node.only().egress_bytes = 10;
  node.tell_egress();
  until_egress_is_billed(10);
  close();
  node.only().egress_bytes = 25;
  node.end(node.ids()[0], 1);
  open();
  until_acknowledged();
  EXPECT_EQ(billed_egress_bytes(), 25);
}

TEST_F(Restarts, BillTheContainersOfAnAppThatWasStoppedAsTheServerWentDown) {
  must_deploy("docs", {function("slow", kOneL4)});
  Caller caller;
  must_start("docs", "slow", caller);
  until_running();
  const Time started = node.only().started;
  flush();
  // The stop is durable; the server dies before the container ends.
  std::optional<Result<std::string>> stopped;
  control->stop_app("docs", [&](auto given) { stopped = std::move(given); });
  while (!stopped) {
    loop->restart();
    loop->run_one_for(std::chrono::milliseconds(1));
  }
  close();
  clock.advance(Duration::seconds(30));
  open();
  until([&] { return node.containers.empty(); });
  expect_billed(started, ended_at());
}

TEST_F(Restarts, FinishOldVersionsContainersWithoutRetiringTheNewOnes) {
  must_deploy("docs", {function("slow", kOneL4)});
  Caller caller, fresh;
  must_start("docs", "slow", caller);
  until_running();
  must_deploy("docs", {function("echo")});
  flush();
  close();
  open();
  node.reconnect_runners();
  until([&] { return node.containers.empty(); });
  call("docs", "echo", fresh);
  EXPECT_TRUE(fresh.result);
}

TEST_F(Restarts, EndContainersThatNobodyKnows) {
  must_deploy("docs", {function("echo")});
  node.containers[ContainerId{12345}].loaded = true;
  node.lose();
  node.connect();
  until([&] { return node.containers.empty(); });
  until_acknowledged();
}

TEST_F(Restarts, KeepServingWhileTheNodeIsAwayForAMoment) {
  must_deploy("docs", {function("echo", kOneL4)});
  Caller one, two;
  call("docs", "echo", one);
  node.lose();
  pass(Duration::seconds(5));
  call("docs", "echo", two);
  EXPECT_EQ(two.report.container, one.report.container);
  node.connect();
  pass(Duration::seconds(60));
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_EQ(node.containers.size(), 1u);
}

TEST_F(Restarts, CountANodesContainersAsLostWhenItStaysAway) {
  must_deploy("docs", {function("slow")});
  Caller caller;
  const CallId id = must_start("docs", "slow", caller);
  until_running();
  node.lose();
  pass(Duration::seconds(10));
  EXPECT_FALSE(caller.done()) << "it is run again, not failed";
  EXPECT_EQ(json(*control->call_json(id))["state"], "waiting");
  const ContainerId old = node.ids()[0];
  node.connect();
  until([&] { return !node.containers.contains(old) && node.containers.size() == 1; });
  until_running();
}

TEST_F(Restarts, RefuseAStartThatTheNodeNeverHeard) {
  must_deploy("docs", {function("echo")});
  Caller caller;
  must_start("docs", "echo", caller);
  node.starts.clear();  // lost with the connection
  node.lose();
  node.connect();
  until([&] {
    clock.advance(Duration::milliseconds(100));
    return caller.done();
  });
  EXPECT_TRUE(caller.result);
}

TEST_F(Restarts, RecordUsageOnceTheDiskHasRoomAgain) {
  must_deploy("docs", {function("echo", kOneL4)});
  Caller caller;
  flaky.full = true;
  call("docs", "echo", caller);
  const Time started = node.only().started;
  flush();
  EXPECT_THAT(control->status_json(), HasSubstr("disk is full"));
  EXPECT_EQ(billed_gpu_ms(), 0);
  flaky.full = false;
  stop_docs();
  expect_billed(started, ended_at());
}

TEST_F(Restarts, KeepUsageSmallHoweverLongTheDiskIsFull) {
  must_deploy("docs", {function("echo", kOneL4)});
  flaky.full = true;
  Caller caller;
  call("docs", "echo", caller);
  const Time started = node.only().started;
  const int windows = 8000;
  for (int i = 0; i < windows; ++i) {
    Caller again;
    call("docs", "echo", again);
    pass(Duration::seconds(60));
    turn();
  }
  flaky.full = false;
  stop_docs();
  expect_billed(started, ended_at());
  EXPECT_LT(flaky.largest, 15'000u) << "records are kept for each window";
}

TEST_F(Restarts, TakeNoDeployThatTheDiskHasNoRoomFor) {
  must_deploy("docs", {function("echo")});
  flaky.full = true;
  const auto refused = deploy("docs", {function("echo"), function("other")});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::storage_failed);
  Caller caller;
  call("docs", "echo", caller);  // the version that there is goes on
  EXPECT_TRUE(caller.result);
  EXPECT_FALSE(start("docs", "other", caller).ok());
  flaky.full = false;
  close();
  open();
  EXPECT_EQ(json(*control->app_json("docs"))["version"], 1);
  must_deploy("docs", {function("echo"), function("other")});
}

TEST_F(Restarts, RememberLogLines) {
  must_deploy("docs", {function("echo")});
  Caller caller;
  call("docs", "echo", caller, "7");
  until([&] {
    clock.advance(Duration::milliseconds(50));
    return std::filesystem::exists(directory.path() + "/logs/docs");
  });
  for (int i = 0; i < 50; ++i) turn();
  close();
  open();
  const auto lines = logs(logs_of("docs"));
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines[0].text, "read 7");
  EXPECT_EQ(lines[0].container, caller.report.container);
}

}  // namespace
}  // namespace ember

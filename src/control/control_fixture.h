// A whole LiveControl for tests: a real store and disk, a clock of the test's own, and a node that
// runs its "containers" in the test (fake_node.h).
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/digest.h"
#include "control/fake_node.h"
#include "control/fake_webhook_sender.h"
#include "control/json.h"
#include "control/live_control.h"
#include "control/price_file.h"
#include "model/gpu.h"

namespace ember {

class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = testing::TempDir() + "ember-control-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A caller that keeps what it is told.
struct Caller final : CallWaiter {
  void on_result(Body value, const CallReport& given) override {
    EXPECT_FALSE(done()) << "answered twice";
    result = std::move(value);
    report = given;
  }
  void on_failure(CallFailure given, const CallReport& of) override {
    EXPECT_FALSE(done()) << "answered twice";
    failure = std::move(given);
    report = of;
  }
  void on_item(Body item) override {
    EXPECT_FALSE(done()) << "an item after the end";
    items.push_back(std::move(item.bytes));
  }
  void on_progress(std::string_view told) override { progress.emplace_back(told); }
  bool done() const { return result || failure; }

  std::optional<Body> result;
  std::optional<CallFailure> failure;
  std::vector<std::string> items;
  std::vector<std::string> progress;
  CallReport report;
};

class ControlTest : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void TearDown() override { close(); }

  // Opens the store and the control on the same directory, and lets the node connect.
  void open() {
    auto book = parse_price_book(price_text(), date_of(clock.now()));
    ASSERT_TRUE(book.ok()) << book.error().message;
    prices = std::move(book).value();
    Snapshot snapshot;
    auto opened = open_sqlite_store(directory.path(), snapshot);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store = std::move(opened).value();
    control = std::make_unique<LiveControl>(
        LiveControlOptions{
            .data = directory.path(), .version = "0.1.0", .logs = {}, .master_key = master_key},
        *loop, clock, wrapped_store(), std::move(snapshot), node, prices, receivers);
    ASSERT_TRUE(control->start().ok());
    until([&] { return node.is_observed(); });
    node.connect();
  }
  // As kill -9 does to the server, but for what is still on its way to the disk.
  void close() {
    node.forget_server();
    control.reset();
    store.reset();
    loop = std::make_unique<boost::asio::io_context>();
  }
  virtual Store& wrapped_store() { return *store; }

  // One free of every GPU type of the house, and all meters.
  static std::string price_text() {
    JsonValue rows = JsonValue::array();
    const auto add = [&](const char* provider, const char* meter, std::string_view gpu,
                         const char* usd) {
      JsonValue row = {{"provider", provider}, {"sku", "s"},
                       {"meter", meter},       {"kind", "serverless"},
                       {"usd", usd},           {"valid_from", "2020-01-01"},
                       {"source", "a test"},   {"fetched_at", "2025-01-01"}};
      if (!gpu.empty()) row["gpu"] = gpu;
      rows.push_back(std::move(row));
    };
    for (const GpuType& type : gpu_types()) add("local", "gpu", type.name, "0.72");
    add("local", "cpu", "", "0.036");
    add("local", "memory", "", "0.0036");
    add("local", "egress", "", "0.09");
    add("local", "disk", "", "0.00036");
    add("dear", "gpu", "L4", "3.6");
    add("cheap", "gpu", "L4", "0.36");
    add("cheap", "cpu", "", "0.0036");
    return dump_json({{"format", 1}, {"prices", std::move(rows)}, {"markups", JsonValue::array()}});
  }

  // Runs the loop and the machine until it holds. Fails after ten seconds of real time.
  template <class Holds>
  void until(Holds holds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!holds()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "it never came";
      turn();
    }
  }
  void turn() {
    loop->restart();
    loop->run_one_for(std::chrono::milliseconds(1));
    loop->poll();
    if (!node.is_observed()) return;
    node.run();
    control->tick();
  }
  void pass(Duration time) {
    clock.advance(time);
    control->tick();
  }

  template <class Value, class Ask>
  Result<Value> wait_for(Ask ask) {
    std::optional<Result<Value>> answer;
    ask([&](Result<Value> given) { answer = std::move(given); });
    until([&] { return answer.has_value(); });
    return answer ? std::move(*answer) : Result<Value>(ErrorCode::internal, "no answer");
  }

  std::string upload(const std::string& bytes = "print()\n") {
    const std::string sha = hex(sha256(bytes));
    EXPECT_TRUE(wait_for<Ok>([&](auto done) { control->put_blob(sha, bytes, done); }).ok());
    const std::string manifest = dump_json(
        {{"files", {{{"path", "app.py"}, {"sha256", sha}, {"size_bytes", bytes.size()}}}}});
    const auto uploaded =
        wait_for<UploadResult>([&](auto done) { control->register_source(manifest, done); });
    EXPECT_TRUE(uploaded.ok());
    return uploaded->digest;
  }

  // `fields` are those of the function beside its name, as JSON members.
  static JsonValue function(const std::string& name, const std::string& fields = "") {
    return JsonValue::parse(R"({"name": ")" + name + R"(", "module": "app", "qualname": ")" + name +
                            R"(")" + (fields.empty() ? "" : ", " + fields) + "}");
  }
  // The version serves from then on, also where the one before it has containers.
  Result<std::string> deploy(const std::string& app, std::vector<JsonValue> functions,
                             bool ephemeral = false) {
    build();
    const std::string request = dump_json({{"ephemeral", ephemeral},
                                           {"strategy", "recreate"},
                                           {"source", upload()},
                                           {"functions", std::move(functions)}});
    return wait_for<std::string>([&](auto done) { control->deploy(app, request, done); });
  }
  void must_deploy(const std::string& app, std::vector<JsonValue> functions,
                   bool ephemeral = false) {
    const auto deployed = deploy(app, std::move(functions), ephemeral);
    ASSERT_TRUE(deployed.ok()) << deployed.error().message;
  }
  // The image of every function here.
  void build() {
    struct Watch final : BuildObserver {
      void on_line(std::string_view) override {}
      void on_end(const std::string&, Result<> given) override { result = std::move(given); }
      std::optional<Result<>> result;
    };
    const auto watch = std::make_shared<Watch>();
    control->build_image(R"({"base": "host", "steps": []})", watch);
    until([&] { return watch->result.has_value(); });
    ASSERT_TRUE(watch->result && watch->result->ok());
  }

  StartedCall start(const std::string& app, const std::string& name, Caller& caller,
                    std::string arguments = "{}") {
    return control->start_call({app, name, {BodyFormat::json, std::move(arguments)}}, &caller);
  }
  CallId must_start(const std::string& app, const std::string& name, Caller& caller,
                    std::string arguments = "{}") {
    auto started = start(app, name, caller, std::move(arguments));
    EXPECT_TRUE(started.ok()) << (started.ok() ? "" : started.error().message);
    return started.ok() ? *started : CallId{};
  }
  void call(const std::string& app, const std::string& name, Caller& caller,
            std::string arguments = "{}") {
    must_start(app, name, caller, std::move(arguments));
    until([&] { return caller.done(); });
  }
  void until_running() {
    until([&] { return node.containers.size() == 1 && !node.only().inputs.empty(); });
  }

  std::vector<CostRow> bill(std::vector<CostGroup> by) {
    auto rows = wait_for<std::vector<CostRow>>([&](auto done) {
      store->query_cost({by, "", {}, Time::never()}, [this, done](auto found) {
        boost::asio::post(*loop, [done, found = std::move(found)] { done(found); });
      });
    });
    return std::move(rows).value();
  }
  std::vector<LogLine> logs(const LogQuery& query) {
    auto lines = wait_for<std::vector<LogLine>>([&](auto done) { control->logs(query, done); });
    EXPECT_TRUE(lines.ok());
    return lines.ok() ? std::move(lines).value() : std::vector<LogLine>{};
  }
  static LogQuery logs_of(const std::string& app) {
    LogQuery query;
    query.app = app;
    return query;
  }
  static JsonValue json(const std::string& text) { return JsonValue::parse(text); }

  TempDirectory directory;
  std::optional<MasterKey> master_key = MasterKey::generate();
  FakeClock clock;
  FakeNode node{clock};
  FakeWebhookSender receivers;
  PriceBook prices;
  std::unique_ptr<boost::asio::io_context> loop = std::make_unique<boost::asio::io_context>();
  std::unique_ptr<Store> store;
  std::unique_ptr<LiveControl> control;
};

}  // namespace ember

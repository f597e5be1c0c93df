// Commands in containers: the conversation with a client, whatever that says.
#include "control/exec_sessions.h"

#include <csignal>

#include "control/control_fixture.h"

namespace ember {
namespace {

struct Client final : MessageClient {
  void send_text(std::string_view text) override { said.push_back(JsonValue::parse(text)); }
  void send_bytes(std::string_view given) override {
    ASSERT_FALSE(given.empty());
    (given[0] == 1 ? output : errors).append(given.substr(1));
  }
  void end_messages() override { ++ends; }

  std::int64_t taken() const {
    std::int64_t sum = 0;
    for (const JsonValue& one : said) sum += one.value("taken", 0);
    return sum;
  }
  bool has(const char* member) const {
    return std::ranges::any_of(said, [&](const JsonValue& one) { return one.contains(member); });
  }
  std::string error_code() const {
    for (const JsonValue& one : said) {
      if (one.contains("error")) return one["error"]["code"];
    }
    return "";
  }

  std::vector<JsonValue> said;
  std::string output, errors;
  int ends = 0;
};

class ExecSessionsTest : public ControlTest {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);  // as serve does
    ControlTest::SetUp();
    must_deploy("docs", {function("echo", R"("scaledown_window_ms": 3600000)")});
    Caller caller;
    call("docs", "echo", caller);
    container = node.containers.begin()->first;
  }
  void TearDown() override {
    session.reset();
    ControlTest::TearDown();
  }
  void open_session() {
    auto opened = control->open_exec(container, client);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    session = std::move(*opened);
  }
  FakeNode::FakeExec& begin() {
    open_session();
    session->on_text(R"({"command": ["sh"]})");
    EXPECT_EQ(node.execs.size(), 1u);
    return node.execs.begin()->second;
  }
  void end(int status) { node.end_exec_with(node.execs.begin()->first, ExecExit{status, 0}); }

  ContainerId container;
  Client client;
  std::unique_ptr<MessageSession> session;
};

TEST_F(ExecSessionsTest, BytesGoBothWaysAndTheStatusComesLast) {
  auto& exec = begin();
  EXPECT_EQ(exec.spec.arguments, std::vector<std::string>{"sh"});
  EXPECT_FALSE(exec.spec.terminal);
  session->on_bytes("ls\n");
  EXPECT_EQ(exec.read_input(), "ls\n");
  until([&] { return client.taken() == 3; });
  exec.write(exec.output, "a b\n");
  exec.write(exec.errors, "oh\n");
  end(3);
  until([&] { return client.ends == 1; });
  EXPECT_EQ(client.output, "a b\n");
  EXPECT_EQ(client.errors, "oh\n");
  EXPECT_EQ(client.said.back(), JsonValue({{"exit", 3}}));
}

TEST_F(ExecSessionsTest, TheEndOfTheInputIsPassedOnOnceAllOfItIs) {
  auto& exec = begin();
  session->on_bytes("last");
  session->on_text(R"({"end_of_input": true})");
  EXPECT_EQ(exec.read_input(), "last");
  EXPECT_EQ(::read(exec.input.get(), exec.scratch, 1), 0);
}

TEST_F(ExecSessionsTest, NoMoreThanAWindowIsSentToWhoTakesNothing) {
  auto& exec = begin();
  const std::string much(kExecWindowBytes + 100'000, 'x');
  std::size_t written = 0;
  until([&] {
    written += exec.write(exec.output, std::string_view(much).substr(written));
    return client.output.size() == kExecWindowBytes;
  });
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_EQ(client.output.size(), kExecWindowBytes);
  until([&] {
    written += exec.write(exec.output, std::string_view(much).substr(written));
    return written == much.size() || written > kExecWindowBytes + 60'000;
  });
  end(0);
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_EQ(client.ends, 0) << "there is more to come";
  session->on_text(R"({"taken": 262144})");
  until([&] { return client.ends == 1; });
  EXPECT_EQ(client.output.size(), written);
}

TEST_F(ExecSessionsTest, AClientThatSendsMoreThanItsWindowIsLetGo) {
  begin();
  session->on_bytes(std::string(kExecWindowBytes, 'x'));
  EXPECT_EQ(client.ends, 0);
  until([&] { return client.taken() > 0; });
  session->on_bytes(std::string(static_cast<std::size_t>(client.taken()), 'x'));
  EXPECT_EQ(client.ends, 0);
  session->on_bytes("y");
  EXPECT_EQ(client.ends, 1);
  EXPECT_EQ(client.error_code(), "invalid_argument");
}

TEST_F(ExecSessionsTest, WhatIsNoMessageEndsTheSessionAndTheProcessWithIt) {
  for (const char* text :
       {"", "{", "[]", "null", "\xff\xfe", R"({"command": []})", R"({"command": "ls"})",
        R"({"command": [1]})", R"({"command": ["a\u0000b"]})", R"({"commands": ["ls"]})",
        R"({"command": ["ls"], "terminal": {"rows": 0, "columns": 80}})",
        R"({"command": ["ls"], "terminal": {"rows": 24, "columns": 80, "type": "a b"}})",
        R"({"command": ["ls"], "terminal": {"rows": 24, "columns": 80, "depth": 3}})"}) {
    client = {};
    open_session();
    session->on_text(text);
    EXPECT_EQ(client.error_code(), "invalid_argument") << text;
    EXPECT_EQ(client.ends, 1) << text;
    session->on_text(R"({"command": ["ls"]})");
    EXPECT_TRUE(node.execs.empty()) << text;
  }
  for (const char* text : {"{", R"({"taken": 1})", R"({"taken": -1})", R"({"resize": [1, 2]})",
                           R"({"resize": {"rows": 1}})", R"({"command": ["ls"]})"}) {
    client = {};
    node.execs.clear();
    begin();
    session->on_text(text);
    EXPECT_EQ(client.error_code(), "invalid_argument") << text;
    session.reset();
    EXPECT_EQ(node.unwanted_execs.size(), 1u) << text;
    node.unwanted_execs.clear();
  }
}

TEST_F(ExecSessionsTest, BytesBeforeTheCommandAreRefused) {
  open_session();
  session->on_bytes("ls\n");
  EXPECT_EQ(client.error_code(), "invalid_argument");
}

TEST_F(ExecSessionsTest, AClientThatLeavesEndsTheProcess) {
  begin();
  const ExecId id = node.execs.begin()->first;
  session.reset();
  EXPECT_EQ(node.unwanted_execs, std::vector<ExecId>{id});
  node.end_exec_with(id, ExecExit{});  // nobody is there to be told
}

TEST_F(ExecSessionsTest, AProcessThatEndedIsNotEndedOnceMore) {
  begin();
  end(0);
  until([&] { return client.ends == 1; });
  session.reset();
  EXPECT_TRUE(node.unwanted_execs.empty());
}

TEST_F(ExecSessionsTest, WhatTheNodeRefusesIsTold) {
  begin();
  node.end_exec_with(node.execs.begin()->first,
                     Error{ErrorCode::start_failed, "executable file `sh` not found"});
  EXPECT_EQ(client.error_code(), "start_failed");
  EXPECT_EQ(client.ends, 1);
}

TEST_F(ExecSessionsTest, AContainerThatIsNotThereHasNone) {
  EXPECT_EQ(control->open_exec(ContainerId{999}, client).error().code, ErrorCode::not_found);
}

TEST_F(ExecSessionsTest, InputThatNobodyReadsGoesNowhere) {
  auto& exec = begin();
  exec.input.reset();
  session->on_bytes("to nobody");
  until([&] { return client.taken() == 9; });
  session->on_bytes("more");
  until([&] { return client.taken() == 13; });
  end(0);
  until([&] { return client.ends == 1; });
}

}  // namespace
}  // namespace ember

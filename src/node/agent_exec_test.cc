// Processes that are run in a container beside its runner, under every isolation.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "node/agent_fixture.h"

namespace ember {
namespace {

using testing::HasSubstr;

class AgentExecTest : public AgentTest {
 protected:
  ExecId exec(std::vector<std::string> arguments, std::optional<TerminalSize> terminal = {}) {
    const ExecId id{++last_};
    node_->exec(id, ember::id(1),
                {.arguments = std::move(arguments),
                 .terminal = terminal,
                 .terminal_type = terminal ? "xterm" : ""});
    return id;
  }
  ExecId shell(std::string text, std::optional<TerminalSize> terminal = {}) {
    return exec({"sh", "-c", std::move(text)}, terminal);
  }

  int stream(ExecId id, ExecStream which) {
    const auto key = std::make_pair(id, which);
    run_until([&] { return recorder_.streams.contains(key) || recorder_.execs.contains(id); });
    return recorder_.streams.contains(key) ? recorder_.streams[key].get() : -1;
  }
  // Reads until the text has come, or all has.
  std::string read_until(int file, const std::string& wanted) {
    std::string text;
    ::fcntl(file, F_SETFL, ::fcntl(file, F_GETFL) | O_NONBLOCK);
    run_until([&] {
      char piece[4096];
      const ssize_t got = ::read(file, piece, sizeof piece);
      if (got > 0) text.append(piece, static_cast<std::size_t>(got));
      const bool over = got == 0 || (got < 0 && errno != EAGAIN);
      return over || text.find(wanted) != std::string::npos;
    });
    return text;
  }
  std::string read_all(int file) { return read_until(file, "never to be found"); }

  ExecExit exit_of(ExecId id) {
    run_until([&] { return recorder_.execs.contains(id); });
    const auto& exit = recorder_.execs.at(id);
    EXPECT_TRUE(exit.ok()) << exit.error().message;
    return exit.ok() ? *exit : ExecExit{};
  }

  std::uint64_t last_ = 0;
};

TEST_P(AgentExecTest, ACommandHasThreePipesAndItsOwnExitStatus) {
  start(spec(1));
  const ExecId id = shell("cat; echo out; echo err >&2; exit 7");
  const int input = stream(id, ExecStream::input);
  ASSERT_EQ(::write(input, "in\n", 3), 3);
  recorder_.streams.erase({id, ExecStream::input});
  EXPECT_EQ(read_all(stream(id, ExecStream::output)), "in\nout\n");
  EXPECT_EQ(read_all(stream(id, ExecStream::errors)), "err\n");
  EXPECT_EQ(exit_of(id).status, 7);
}

TEST_P(AgentExecTest, ItsStreamsCanBeOpenedAnewByName) {
  start(spec(1));
  const ExecId id = shell("echo one > /proc/self/fd/1; echo two > /proc/self/fd/2");
  EXPECT_EQ(read_all(stream(id, ExecStream::output)), "one\n");
  EXPECT_EQ(read_all(stream(id, ExecStream::errors)), "two\n");
}

TEST_P(AgentExecTest, ASignalThatEndsItIsTold) {
  start(spec(1));
  EXPECT_EQ(exit_of(shell("kill -TERM $$")).signal, SIGTERM);
}

TEST_P(AgentExecTest, ItHasTheEnvironmentOfTheContainer) {
  auto one = spec(1);
  one.env = {{"COLOUR", "green"}};
  start(one);
  EXPECT_THAT(read_all(stream(shell("env"), ExecStream::output)),
              testing::AllOf(HasSubstr("COLOUR=green\n"),
                             HasSubstr("EMBER_CONTAINER_ID=" + id(1).text() + "\n")));
}

TEST_P(AgentExecTest, ATerminalHasTheSizeThatWasAskedForAndTakesAnother) {
  start(spec(1));
  // It is given its size a moment after the start.
  const ExecId id = shell(
      "while [ \"$(stty size)\" = '0 0' ]; do :; done; stty size; read line; stty size; tty; "
      "echo $TERM",
      TerminalSize{33, 99});
  const int terminal = stream(id, ExecStream::terminal);
  std::string said = read_until(terminal, "\n");
  const winsize wanted{44, 111, 0, 0};
  ASSERT_EQ(::ioctl(terminal, TIOCSWINSZ, &wanted), 0);
  ASSERT_EQ(::write(terminal, "\n", 1), 1);
  said += read_all(terminal);
  EXPECT_THAT(said, HasSubstr("33 99"));
  EXPECT_THAT(said, HasSubstr("44 111"));
  if (!in_gvisor()) {
    EXPECT_THAT(said, HasSubstr("/dev/pts/"));
  }
  EXPECT_THAT(said, HasSubstr("xterm"));
  EXPECT_EQ(exit_of(id).status, 0);
}

TEST_P(AgentExecTest, TheInterruptKeyOfATerminalInterrupts) {
  start(spec(1));
  const ExecId id = shell("echo here; exec sleep 1000", TerminalSize{});
  const int terminal = stream(id, ExecStream::terminal);
  read_until(terminal, "here");
  ASSERT_EQ(::write(terminal, "\3", 1), 1);
  EXPECT_EQ(exit_of(id).signal, SIGINT);
}

TEST_P(AgentExecTest, ItsProgramsCanMakeTerminalsOfTheirOwn) {
  if (in_gvisor()) GTEST_SKIP() << "terminals of a gVisor of 2022 do not tell of their end";
  start(spec(1));
  const ExecId id = exec({"python3", "-c", "import pty; print(pty.spawn(['tty']))"});
  EXPECT_THAT(read_all(stream(id, ExecStream::output)), HasSubstr("/dev/pts/"));
}

TEST_P(AgentExecTest, NothingOfItsIsLeftOnceNobodyWantsIt) {
  if (in_gvisor()) GTEST_SKIP() << "the machine does not see its processes";
  start(spec(1));
  const ExecId id = shell("trap '' HUP; sleep 1000 & sleep 1000; sleep 1000");
  stream(id, ExecStream::output);
  const auto mark = "EMBER_CONTAINER_ID=" + ember::id(1).text();
  run_until([&] { return processes_with_env(mark).size() >= 3; });
  node_->end_exec(id);
  run_until([&] { return recorder_.execs.contains(id); });
  const auto alive = [&] {
    std::size_t sleepers = 0;
    for (const pid_t pid : processes_with_env(mark)) {
      const auto words = read_file("/proc/" + std::to_string(pid) + "/cmdline").value_or("");
      sleepers += words.find("sleep") != std::string::npos;
    }
    return sleepers;
  };
  run_until([&] { return alive() == 0; });
}

TEST_P(AgentExecTest, AnotherDriverFindsNothingOfTheOneBefore) {
  if (in_gvisor()) GTEST_SKIP() << "the machine does not see its processes";
  start(spec(1));
  const auto mark = "EMBER_CONTAINER_ID=" + ember::id(1).text();
  const std::size_t before = processes_with_env(mark).size();
  stream(shell("sleep 1000"), ExecStream::output);
  run_until([&] { return processes_with_env(mark).size() > before; });
  node_.reset();
  run_until([&] { return processes_with_env(mark).size() == before; });
  connect();
}

TEST_P(AgentExecTest, ItEndsWithItsContainer) {
  start(spec(1));
  const ExecId id = shell("echo here; sleep 1000");
  read_until(stream(id, ExecStream::output), "here");
  node_->stop(ember::id(1), {});
  EXPECT_EQ(exit_of(id).signal, SIGKILL);
}

TEST_P(AgentExecTest, AProgramThatIsNotThereIsNamed) {
  start(spec(1));
  const ExecId id = exec({"no-such-program"});
  run_until([&] { return recorder_.execs.contains(id); });
  const auto& exit = recorder_.execs.at(id);
  const std::string said =
      exit.ok() ? read_all(stream(id, ExecStream::errors)) : exit.error().message;
  EXPECT_THAT(said, HasSubstr("no-such-program"));
  if (exit.ok()) {
    EXPECT_EQ(exit->status, 127);
  }
}

TEST_P(AgentExecTest, AContainerThatIsNotThereAndACommandOfNothingAreRefused) {
  const ExecId nowhere = exec({"true"});
  run_until([&] { return recorder_.execs.contains(nowhere); });
  EXPECT_EQ(recorder_.execs.at(nowhere).error().code, ErrorCode::not_found);
  start(spec(1));
  const ExecId nothing = exec({});
  run_until([&] { return recorder_.execs.contains(nothing); });
  EXPECT_EQ(recorder_.execs.at(nothing).error().code, ErrorCode::invalid_argument);
}

// A shell is no way around what holds for user code.
TEST_P(AgentExecTest, ItHasAsFewPrivilegesAsTheRunner) {
  if (!in_container()) GTEST_SKIP() << "process isolation takes none away";
  if (in_gvisor()) GTEST_SKIP() << "its kernel is its own";
  start(spec(1));
  for (const auto& terminal : {std::optional<TerminalSize>(), std::optional(TerminalSize{})}) {
    const ExecId id = shell(
        "cat /proc/self/status /proc/self/cgroup; ls -l /proc/1/ns /proc/self/ns; "
        "mount -t tmpfs none /tmp; unshare -U true; echo no | tee /proc/sys/kernel/hostname",
        terminal);
    const std::string said =
        read_all(stream(id, terminal ? ExecStream::terminal : ExecStream::output));
    for (const char* line : {"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
                             "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"}) {
      EXPECT_THAT(said, HasSubstr(line));
    }
    // Every namespace is that of the container's first process.
    for (const char* kind : {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}) {
      const std::string name = std::string(kind) + ":[";
      const auto first = said.find(name), second = said.find(name, first + 1);
      ASSERT_NE(second, std::string::npos) << said;
      EXPECT_EQ(said.substr(first, said.find(']', first) - first),
                said.substr(second, said.find(']', second) - second));
    }
  }
}

TEST_P(AgentExecTest, ItCountsForTheContainersLimits) {
  if (!in_container()) GTEST_SKIP() << "process isolation has no limits";
  for (const std::string& line : recorder_.hellos.back().missing) {
    if (line.starts_with("memory")) GTEST_SKIP() << line;
  }
  auto one = spec(1);
  one.resources.memory_bytes = 128 << 20;
  start(one);
  EXPECT_EQ(exit_of(exec({"python3", "-c", "x = bytearray(400 << 20)"})).signal, SIGKILL);
}

TEST_P(AgentExecTest, MoreThanAContainerMayHaveAtOnceAreRefused) {
  start(spec(1));
  for (std::size_t i = 0; i < 16; ++i) shell("sleep 1000");
  const ExecId one_more = shell("true");
  run_until([&] { return recorder_.execs.contains(one_more); });
  EXPECT_EQ(recorder_.execs.at(one_more).error().code, ErrorCode::resource_exhausted);
}

TEST_P(AgentExecTest, TheProcessesOfAContainerAreTold) {
  if (in_gvisor()) GTEST_SKIP() << "the machine does not see its processes";
  start(spec(1));
  stream(shell("exec sleep 1234"), ExecStream::output);
  const auto mark = "EMBER_CONTAINER_ID=" + ember::id(1).text();
  const auto sleeps = [&] {
    const auto all = processes_with_env(mark);
    return std::ranges::any_of(all, [](pid_t pid) {
      return read_file("/proc/" + std::to_string(pid) + "/cmdline")
          .value_or("")
          .starts_with("sleep");
    });
  };
  run_until(sleeps);
  node_->inspect(5, id(1), ProcessQuery::processes);
  run_until([&] { return recorder_.inspected.contains(5); });
  const auto& answer = recorder_.inspected.at(5);
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_THAT(*answer, HasSubstr(R"("command":"sleep 1234")"));
  if (in_container()) {
    EXPECT_THAT(*answer, HasSubstr(R"("pid":1,)"));
  }
  EXPECT_THAT(*answer, HasSubstr(R"("user":0)"));
}

INSTANTIATE_TEST_SUITE_P(Isolations, AgentExecTest, every_isolation(), setting_name);

}  // namespace
}  // namespace ember

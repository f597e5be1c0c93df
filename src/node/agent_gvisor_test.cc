// Containers under a kernel of their own.
#include "node/agent_fixture.h"
#include "node/unix_socket.h"

namespace ember {
namespace {

using testing::HasSubstr;

class AgentGvisorTest : public AgentTest {
 protected:
  // On this machine: the sandbox, and what opens files for it.
  std::vector<pid_t> processes_of(std::uint64_t number) const {
    const std::string group =
        "/ember/" + recorder_.hellos.back().node.text() + "/" + id(number).text() + "/cgroup.procs";
    std::vector<pid_t> all;
    for (const char* hierarchy : {"/sys/fs/cgroup/pids", "/sys/fs/cgroup"}) {
      std::ifstream file(hierarchy + group);
      for (pid_t pid; file >> pid;) all.push_back(pid);
    }
    return all;
  }
  void restart_without_runsc() {
    agent_.reset();
    options_.runsc = "/there/is/none";
    start_agent();
    run_until([&] { return recorder_.hellos.size() == 2; });
  }
  const std::string& refusal_of(const ContainerSpec& one) {
    node_->start(one, {});
    run_until([&] { return recorder_.refused.contains(one.container); });
    return recorder_.refused[one.container];
  }
};

TEST_P(AgentGvisorTest, ItsKernelIsNotTheMachines) {
  const UniqueFd& runner = start(spec(1));
  EXPECT_NE(ask(runner, "out = open('/proc/version').read()"), read_file("/proc/version"));
  EXPECT_THAT(ask(runner,
                  "import subprocess\n"
                  "out = subprocess.run(['/usr/bin/dmesg'], capture_output=True).stdout"),
              HasSubstr("Starting gVisor"));
}

TEST_P(AgentGvisorTest, WhatRunsItOnTheMachineIsNobodyThereAndHasNoPrivilegesOutsideIt) {
  start(spec(1));
  const auto processes = processes_of(1);
  EXPECT_GE(processes.size(), 2u);
  const auto users_of = [](const std::string& pid) {
    return std::filesystem::read_symlink("/proc/" + pid + "/ns/user");
  };
  for (const pid_t pid : processes) {
    EXPECT_NE(process_user(pid), 0u);
    EXPECT_NE(users_of(std::to_string(pid)), users_of("self"));
  }
}

TEST_P(AgentGvisorTest, ItReachesNoOtherContainer) {
  const UniqueFd& one = start(spec(1));
  const UniqueFd& two = start(spec(2));
  const std::string address = ask(one,
                                  "import socket as k; u = k.socket(k.AF_INET, k.SOCK_DGRAM)\n"
                                  "u.connect(('203.0.113.1', 9)); out = u.getsockname()[0]\n"
                                  "l = k.create_server(('', 7999)); globals()['l'] = l");
  EXPECT_THAT(ask(two, "import socket as k; out = k.create_connection(('" + address +
                           "', 7999), 2) and 'reached'"),
              HasSubstr("timed out"));
}

TEST_P(AgentGvisorTest, AProcessOutsideItsControlGroupIsNotItsRunner) {
  const UniqueFd& runner = start(spec(1));
  const int before = runner.get();
  const auto stranger = connect_unix(ContainerFiles(options_.data + "/node", id(1)).socket_path());
  ASSERT_TRUE(stranger.ok());
  char byte;
  run_until([&] { return ::recv(stranger->get(), &byte, 1, MSG_DONTWAIT) == 0; });
  EXPECT_EQ(recorder_.runners[id(1)].get(), before);
  EXPECT_EQ(ask(runner, "out = 'still here'"), "still here");
}

TEST_P(AgentGvisorTest, WhatItCannotHaveIsRefused) {
  auto one = spec(1);
  one.devices = {recorder_.hellos.back().capacity.devices[0].id};
  EXPECT_THAT(refusal_of(one), HasSubstr("GPUs are not to be had under gVisor"));
  start(spec(2));
  for (const auto what : {ProcessQuery::processes, ProcessQuery::stacks}) {
    const auto question = static_cast<std::uint64_t>(what) + 1;
    node_->inspect(question, id(2), what);
    run_until([&] { return recorder_.inspected.contains(question); });
    ASSERT_FALSE(recorder_.inspected.at(question).ok());
    EXPECT_THAT(recorder_.inspected.at(question).error().message, HasSubstr("gVisor"));
  }
}

TEST_P(AgentGvisorTest, ACommandThatNobodyWantsIsKilledInTheSandbox) {
  const UniqueFd& runner = start(spec(1));
  const char* sleepers =
      "out = sum(b'1234' in open('/proc/%s/cmdline' % p, 'rb').read()\n"
      "          for p in os.listdir('/proc') if p.isdigit())";
  const ExecId exec{1};
  node_->exec(exec, id(1),
              {.arguments = {"sh", "-c", "trap '' HUP; exec sleep 1234"},
               .terminal = std::nullopt,
               .terminal_type = ""});
  run_until([&] { return ask(runner, sleepers) == "1"; });
  node_->end_exec(exec);
  run_until([&] { return recorder_.execs.contains(exec); });
  run_until([&] { return ask(runner, sleepers) == "0"; });
}

TEST_P(AgentGvisorTest, WithoutRunscNoneIsStartedAndThoseThatRunAreLookedAfter) {
  const UniqueFd& runner = start(spec(1));
  restart_without_runsc();
  EXPECT_THAT(recorder_.hellos.back().no_gvisor, HasSubstr("apt-get install runsc"));
  EXPECT_THAT(refusal_of(spec(2)), HasSubstr("apt-get install runsc"));
  ASSERT_EQ(recorder_.hellos.back().containers.size(), 1u);
  EXPECT_EQ(ask(runner, "out = 'still here'"), "still here");
  node_->stop(id(1), {});
  EXPECT_EQ(next_exit().signal, SIGKILL);
}

INSTANTIATE_TEST_SUITE_P(Isolation, AgentGvisorTest, testing::Values(kGvisor), setting_name);

}  // namespace
}  // namespace ember

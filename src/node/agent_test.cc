#include "node/agent.h"

#include <poll.h>
#include <signal.h>

#include "node/agent_fixture.h"
#include "node/unix_socket.h"

namespace ember {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST_P(AgentTest, SaysWhatTheMachineHasAndKeepsItsIdsOverRestarts) {
  const NodeHello first = recorder_.hellos.back();
  EXPECT_EQ(first.name, "test");
  EXPECT_TRUE(first.node);
  EXPECT_EQ(first.capacity.cpu_millicores, 8000);
  ASSERT_EQ(first.capacity.devices.size(), 3u);
  EXPECT_TRUE(first.capacity.devices[0].simulated);
  EXPECT_FALSE(first.network.empty());
  agent_.reset();
  start_agent();
  run_until([&] { return recorder_.hellos.size() == 2; });
  EXPECT_EQ(recorder_.losses, 1);
  const NodeHello& second = recorder_.hellos.back();
  EXPECT_EQ(second.node, first.node);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(second.capacity.devices[i].id, first.capacity.devices[i].id);
    EXPECT_EQ(second.capacity.devices[i].type, first.capacity.devices[i].type);
  }
}

TEST_P(AgentTest, ARunnerConnectsAndStopsWhenAsked) {
  const UniqueFd& runner = start(spec(1));
  EXPECT_EQ(ask(runner, "out = 6 * 7"), "42");
  node_->stop(id(1), Duration::seconds(30));
  const ContainerExit& exit = next_exit();
  EXPECT_EQ(exit.exit_status, 0);
  EXPECT_EQ(exit.signal, 0);
  EXPECT_FALSE(exit.out_of_memory);
  EXPECT_EQ(exit.labels_json, R"({"pool":"po"})");
  EXPECT_EQ(exit.started, recorder_.started[id(1)]);
  EXPECT_GT(exit.at, exit.started);
  EXPECT_THAT(exit.last_output, HasSubstr("runner begins"));
}

TEST_P(AgentTest, ARunnerThatIgnoresSigtermIsKilledAfterTheGrace) {
  start(spec(1, R"({"stubborn": true})"));
  node_->stop(id(1), Duration::milliseconds(50));
  EXPECT_EQ(next_exit().signal, SIGKILL);
}

TEST_P(AgentTest, AStopWhileItStartsIsKept) {
  node_->start(spec(1), {});
  node_->stop(id(1), {});
  EXPECT_EQ(next_exit().signal, SIGKILL);
}

TEST_P(AgentTest, ASegfaultAndAnExitAreToldApart) {
  send_code(start(spec(1)), "import ctypes; ctypes.string_at(0)");
  EXPECT_EQ(next_exit().signal, SIGSEGV);
  recorder_.exits.clear();
  send_code(start(spec(2)), "print('last words', flush=True); os._exit(9)");
  EXPECT_EQ(next_exit().exit_status, 9);
  EXPECT_THAT(next_exit().last_output, HasSubstr("last words"));
}

TEST_P(AgentTest, ARunnerThatDiesAtOnceLeavesItsLastLines) {
  node_->start(spec(1, R"js({"at_start": "raise RuntimeError('no such module')"})js"), {});
  EXPECT_EQ(next_exit().exit_status, 1);
  EXPECT_THAT(next_exit().last_output, HasSubstr("no such module"));
}

TEST_P(AgentTest, AnInterruptReachesTheRunner) {
  const UniqueFd& runner = start(spec(1));
  node_->interrupt(id(1));
  loop_.restart();
  loop_.run_for(std::chrono::milliseconds(50));
  EXPECT_EQ(read_frame(runner), "interrupted");
}

TEST_P(AgentTest, TheEnvironmentIsTheUsersAndOursAlone) {
  ::setenv("EMBER_TEST_SECRET_OF_THE_NODE", "1", 1);
  auto one = spec(1);
  one.env = {{"GREETING", "good day"}, {"HOME", "/somewhere"}};
  one.resources.cpu_millicores = 1500;
  const UniqueFd& runner = start(one);
  EXPECT_EQ(ask(runner, "out = os.environ['GREETING'] + ' ' + os.environ['OMP_NUM_THREADS']"),
            "good day 2");
  EXPECT_EQ(ask(runner, "out = os.environ.get('EMBER_TEST_SECRET_OF_THE_NODE')"), "None");
  EXPECT_EQ(ask(runner, "out = os.environ['EMBER_CONTAINER_ID']"), id(1).text());
  EXPECT_EQ(ask(runner, "out = sys.executable"), "/usr/bin/python3");
  EXPECT_EQ(ask(runner, "out = len(os.listdir('/proc/self/fd')) <= 5"), "True");
}

TEST_P(AgentTest, TheSourceDirectoryIsReadWherePassed) {
  fs::create_directory(root_ + "/source");
  std::ofstream(root_ + "/source/mine.py") << "value = 'of the source'\n";
  const UniqueFd& runner =
      start(spec(1), UniqueFd(::open((root_ + "/source").c_str(), O_PATH | O_CLOEXEC)));
  EXPECT_EQ(ask(runner,
                "source = os.environ.get('EMBER_SOURCE') or '/source'\n"
                "sys.path.insert(0, source)\nimport mine\nout = mine.value"),
            "of the source");
  if (in_container()) {
    EXPECT_THAT(ask(runner, "open(source + '/new', 'w')"),
                testing::AnyOf(HasSubstr("Read-only"), HasSubstr("Permission denied")));
  }
}

TEST_P(AgentTest, GrandchildrenThatHideDieWithTheContainer) {
  const UniqueFd& runner = start(spec(1));
  EXPECT_EQ(ask(runner,
                "import subprocess\n"
                "subprocess.Popen(['/usr/bin/setsid', '/bin/sh', '-c', "
                "'trap \"\" TERM; sleep 1000 & sleep 1000'], stdin=subprocess.DEVNULL)\n"
                "out = 'hidden'"),
            "hidden");
  node_->stop(id(1), Duration::seconds(30));
  next_exit();
  run_until([this] { return leftovers().empty(); });
}

TEST_P(AgentTest, ADeviceIsLeasedToOneContainer) {
  if (in_gvisor()) GTEST_SKIP() << "gVisor has no devices";
  const DeviceId device = recorder_.hellos.back().capacity.devices[0].id;
  auto one = spec(1), two = spec(2), three = spec(3);
  one.devices = two.devices = {device};
  three.devices = {DeviceId{12345}};
  start(one);
  node_->start(two, {});
  node_->start(three, {});
  run_until([&] { return recorder_.refused.size() == 2; });
  EXPECT_THAT(recorder_.refused[id(2)], HasSubstr("held by " + id(1).text()));
  EXPECT_THAT(recorder_.refused[id(3)], HasSubstr("no device"));
  node_->stop(id(1), {});
  EXPECT_EQ(next_exit().devices, one.devices);
  recorder_.exits.clear();
  recorder_.refused.clear();
  start(two);
}

TEST_P(AgentTest, WhatItCannotDoItRefusesWithTheCause) {
  auto names = spec(1), room = spec(2), image = spec(3), cpu = spec(4);
  names.env = {{"not a name", "x"}};
  room.resources.memory_bytes = 64ll << 30;
  image.image.steps = {{.kind = "uv_pip_install", .arguments = {"never-built"}}};
  cpu.resources.cpu_millicores = 0;
  for (const auto* one : {&names, &room, &image, &cpu}) node_->start(*one, {});
  run_until([&] { return recorder_.refused.size() == 4; });
  EXPECT_THAT(recorder_.refused[id(1)], HasSubstr("not a name"));
  EXPECT_THAT(recorder_.refused[id(2)], HasSubstr("memory"));
  EXPECT_THAT(recorder_.refused[id(3)], HasSubstr("not been built"));
  EXPECT_THAT(recorder_.refused[id(4)], HasSubstr("positive"));
  EXPECT_TRUE(containers_on_disk(root_ + "/data/node").empty());
}

TEST_P(AgentTest, AWishAsLargeAsANumberGetsFindsNoRoom) {
  start(spec(1));  // what it holds and the wish together are more than a number holds
  auto cpu = spec(2), memory = spec(3);
  cpu.resources.cpu_millicores = INT64_MAX;
  memory.resources.memory_bytes = INT64_MAX;
  for (const auto* one : {&cpu, &memory}) node_->start(*one, {});
  run_until([&] { return recorder_.refused.size() + recorder_.started.size() == 3; });
  EXPECT_THAT(recorder_.refused[id(2)], HasSubstr("not so much CPU"));
  EXPECT_THAT(recorder_.refused[id(3)], HasSubstr("not so much memory"));
}

TEST_P(AgentTest, ContainersOutliveTheNodeAndAreAdopted) {
  auto one = spec(1);
  if (!in_gvisor()) one.devices = {recorder_.hellos.back().capacity.devices[0].id};
  const UniqueFd& runner = start(one);
  const std::string pid = ask(runner, "x = 17; out = os.getpid()");
  const Time started = recorder_.started[id(1)];
  agent_.reset();
  recorder_.runners.clear();  // as when the driver has gone too: the runner connects again
  start_agent();
  run_until([&] { return recorder_.hellos.size() == 2 && recorder_.runners.size() == 1; });
  const NodeHello& hello = recorder_.hellos.back();
  ASSERT_EQ(hello.containers.size(), 1u);
  EXPECT_EQ(hello.containers[0].container, id(1));
  EXPECT_EQ(hello.containers[0].started, started);
  EXPECT_EQ(hello.containers[0].devices, one.devices);
  EXPECT_EQ(hello.containers[0].labels_json, one.labels_json);
  const UniqueFd& again = recorder_.runners[id(1)];
  EXPECT_THAT(read_frame(again), HasSubstr("protocol"));
  EXPECT_EQ(ask(again, "out = (x, os.getpid())"), "(17, " + pid + ")");
  auto two = spec(2);
  two.devices = one.devices;
  if (!in_gvisor()) {
    node_->start(two, {});
    run_until([&] { return recorder_.refused.size() == 1; });
  }
  node_->stop(id(1), Duration::seconds(30));
  EXPECT_EQ(next_exit().started, started);
}

TEST_P(AgentTest, EndsItsContainersWhereItIsToldToAndStartsNoMore) {
  send_code(start(spec(1)), "time.sleep(1000)");
  node_->start(spec(2), {});
  bool done = false;
  agent_->end_containers([&] { done = true; });
  node_->start(spec(3), {});
  run_until([&] { return done && recorder_.refused.contains(id(3)); });
  EXPECT_THAT(recorder_.refused[id(3)], HasSubstr("ending"));
  run_until([&] { return recorder_.ended.contains(id(1)); });
  EXPECT_EQ(next_exit().container, id(1));
}

TEST_P(AgentTest, AnEndNobodySawIsFoundAndRepeatedUntilAcknowledged) {
  const UniqueFd& runner = start(spec(1));
  agent_.reset();
  send_code(runner, "print('unseen', flush=True); os._exit(3)");
  read_frame(runner);
  start_agent();
  // A container's pipe goes with its last process, unless the node holds it.
  const std::string known = in_container() ? "" : "unseen";
  EXPECT_THAT(next_exit().last_output, HasSubstr(known));
  EXPECT_GE(next_exit().at, next_exit().started);
  EXPECT_TRUE(recorder_.hellos.back().containers.empty());
  for (int round = 2; round < 4; ++round) {
    recorder_.exits.clear();
    agent_.reset();
    start_agent();
    EXPECT_EQ(next_exit().container, id(1)) << "round " << round;
  }
  node_->acknowledge_exit(id(1));
  run_until([&] { return containers_on_disk(root_ + "/data/node").empty(); });
}

TEST_P(AgentTest, ADriverThatComesBackGetsTheRunnersThatConnectedMeanwhile) {
  start(spec(1));
  node_.reset();
  recorder_.runners.clear();
  loop_.restart();
  loop_.run_for(std::chrono::milliseconds(200));
  connect();
  ASSERT_EQ(recorder_.hellos.back().containers.size(), 1u);
  run_until([&] { return recorder_.runners.size() == 1; });
  EXPECT_THAT(read_frame(recorder_.runners[id(1)]), HasSubstr("protocol"));
}

TEST_P(AgentTest, AFloodOfOutputIsBounded) {
  const UniqueFd& runner = start(spec(1));
  send_code(runner,
            "for i in range(25): sys.stdout.write(('%d' % i) * 50000 + '\\n')\n"
            "sys.stdout.flush()");
  // It goes on only as its output is taken in.
  pollfd reply{runner.get(), POLLIN, 0};
  run_until([&] { return ::poll(&reply, 1, 0) == 1; });
  const ContainerFiles files(options_.data + "/node", id(1));
  run_until([&] { return fs::file_size(files.output_path()) < (1 << 20); });
  node_->stop(id(1), Duration::seconds(30));
  EXPECT_LE(next_exit().last_output.size(), 8u << 10);
}

TEST_P(AgentTest, MalformedMessagesCloseTheConnectionAndNothingElse) {
  start(spec(1));
  const std::string path = options_.data + "/node/node.sock";
  const std::string bad[] = {
      std::string("\x05\0\0\0\0\0\0\0{\"a\":", 13), std::string("\xff\xff\xff\xff\0\0\0\0", 8),
      std::string("\x02\0\0\0\x01\0\0\0{}", 10), std::string("\x02\0\0\0\0\0\0\0{}", 10),
      std::string("\x1d\0\0\0\0\0\0\0{\"type\":\"hello\",\"protocol\":9}", 37)};
  for (const std::string& bytes : bad) {
    auto socket = connect_unix(path);
    ASSERT_TRUE(socket.ok());
    ASSERT_EQ(::send(socket->get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    char byte;
    run_until([&] { return ::recv(socket->get(), &byte, 1, MSG_DONTWAIT) == 0; });
  }
  const std::size_t before = recorder_.hellos.size();
  run_until([&] { return recorder_.hellos.size() > before || recorder_.losses == 0; });
  node_.reset();
  connect();
  EXPECT_EQ(recorder_.hellos.back().containers.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Isolation, AgentTest, every_isolation(), setting_name);

}  // namespace
}  // namespace ember

#include "node/runsc.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include "node/container_files.h"

namespace ember {
namespace {

using testing::Contains;
using testing::Not;

TEST(Runsc, WhatItSaidLastIsTheLastMessageOfItsLog) {
  EXPECT_EQ(last_word_of_runsc(""), "");
  EXPECT_EQ(last_word_of_runsc("{\"msg\":\"begun\",\"level\":\"info\"}\n"
                               "{\"msg\":\"no such program\",\"level\":\"error\"}\n"
                               "{\"msg\":7}\nnot JSON\n"),
            "no such program");
}

TEST(Runsc, AContainerWithoutANetworkOfItsOwnGetsNone) {
  const Cgroups cgroups(NodeId{1});
  const Stage stage;
  const Runsc runsc{.program = "/usr/bin/runsc", .state_directory = "/state", .cgroups = cgroups};
  OciRun run{.bundle = "/bundle",
             .container = ContainerId{7},
             .mark = "A=b",
             .pid_path = "/pid",
             .network = BundleNetwork::Kind::made_before};
  EXPECT_THAT(runsc_command(runsc, run, stage).argv, Contains("--network=sandbox"));
  run.network = BundleNetwork::Kind::loopback_alone;
  EXPECT_THAT(runsc_command(runsc, run, stage).argv, Contains("--network=none"));
  run.network = BundleNetwork::Kind::of_the_machine;
  EXPECT_THAT(runsc_command(runsc, run, stage).argv, Not(Contains("--network=host")));
  cgroups.remove_parents();
}

TEST(Runsc, SignalsNothingBeforeACommandHasAPidOfItsOwn) {
  const Cgroups cgroups(NodeId{1});
  const Runsc runsc{.program = "/usr/bin/runsc", .state_directory = "/state", .cgroups = cgroups};
  const std::string path = testing::TempDir() + "ember-inner-pid-" + std::to_string(::getpid());
  OciExecRun run;
  run.container = ContainerId{7};
  run.inner_pid_path = path;
  EXPECT_FALSE(runsc_exec_signal_command(runsc, run, SIGHUP));
  for (const char* none : {"", "0", "-1", "x"}) {
    ASSERT_TRUE(write_file(path, none, 0600).ok());
    EXPECT_FALSE(runsc_exec_signal_command(runsc, run, SIGHUP)) << none;
  }
  ASSERT_TRUE(write_file(path, "12\n", 0600).ok());
  const auto command = runsc_exec_signal_command(runsc, run, SIGHUP);
  ASSERT_TRUE(command);
  EXPECT_THAT(command->argv, Contains("12"));
  ::unlink(path.c_str());
  cgroups.remove_parents();
}

}  // namespace
}  // namespace ember

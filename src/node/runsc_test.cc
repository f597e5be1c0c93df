#include "node/runsc.h"

#include <gmock/gmock.h>

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

}  // namespace
}  // namespace ember

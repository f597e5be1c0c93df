// One container, with an isolation that does as the test says.
#include "node/container.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace ember {
namespace {

class ScriptedIsolation final : public Isolation {
 public:
  std::string_view name() const override { return "scripted"; }
  void launch(LaunchPlan, UniqueFd, std::function<void(Result<pid_t>)> done) override {
    launched = std::move(done);
  }
  bool owns(const ContainerMeta&, pid_t, const ucred&) const override { return false; }
  Result<ExecLaunch> exec(const ExecPlan&) override {
    return {ErrorCode::unavailable, "nothing runs here"};
  }
  bool has_process(const ContainerMeta&, pid_t) const override { return false; }
  void kill_all(const ContainerMeta&, pid_t) override {}
  std::optional<std::int64_t> egress_bytes(const ContainerMeta&) const override { return {}; }
  Remains clean_up(const ContainerMeta&, pid_t) override {
    ++cleaned;
    return {};
  }

  std::function<void(Result<pid_t>)> launched;
  int cleaned = 0;
};

class Owner final : public ContainerOwner {
 public:
  void on_container_started(ContainerId, Time at) override {
    said.push_back("started " + std::to_string(at.us));
  }
  void on_container_refused(ContainerId, std::string why) override {
    said.push_back("refused: " + why);
  }
  void on_container_ended(ContainerExit exit) override {
    said.push_back("ended " + std::to_string(exit.at.us));
  }
  void on_container_runner(ContainerId) override {}

  std::vector<std::string> said;
};

Time nine() { return Time{9}; }

// The machine's own waiting for orphans may collect a runner that ends at once before the node is
// told its number. It held what it held all the same, and is billed for it.
TEST(NodeContainer, EndsWhereItsRunnerWasCollectedBeforeItCouldBeWatched) {
  std::string directory = testing::TempDir() + "ember-container-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  std::filesystem::create_directory(directory + "/containers");
  boost::asio::io_context loop;
  ProcessTable processes(loop);
  ScriptedIsolation isolation;
  Owner owner;
  const ContainerMeta record{.container = ContainerId{5},
                             .labels_json = "{}",
                             .devices = {},
                             .started = Time{4},
                             .resources = {},
                             .isolation = "scripted"};
  const ContainerFiles files(directory, record.container);
  ASSERT_TRUE(files.create(record, "{}").ok());
  NodeContainer container({loop, processes, owner, &nine}, isolation, record, files);
  container.launch({record, files, {}, {}, {}}, {});

  const pid_t runner = ::fork();
  if (runner == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(runner, nullptr, 0), runner);
  isolation.launched(runner);

  EXPECT_EQ(owner.said, (std::vector<std::string>{"started 4", "ended 9"}));
  EXPECT_EQ(isolation.cleaned, 1);
  EXPECT_TRUE(files.read_exit());
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace ember

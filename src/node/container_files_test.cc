#include "node/container_files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

namespace ember {
namespace {

namespace fs = std::filesystem;

// Makes files of this process unable to hold anything, as a full disk does.
class FullDisk {
 public:
  FullDisk() {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, SIG_DFL);
  }

 private:
  rlimit before_{};
};

class ContainerFilesTest : public testing::Test {
 protected:
  ContainerFilesTest() {
    std::string pattern = testing::TempDir() + "ember-files-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    fs::create_directories(root_ + "/containers");
  }
  ~ContainerFilesTest() override { fs::remove_all(root_); }

  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(files().directory())) {
      found.insert(entry.path().filename());
    }
    return found;
  }
  ContainerFiles files() const { return {root_, ContainerId{5}}; }

  std::string root_;
};

TEST_F(ContainerFilesTest, KeepAnEndThatTheDiskHasNoRoomForAsGoodAsTheyCan) {
  ContainerMeta record;
  record.container = ContainerId{5};
  ASSERT_TRUE(files().create(record, "{}").ok());
  ASSERT_TRUE(files().write_runner({1234, 5678}).ok());
  std::ofstream(files().output_path()) << "much";
  ContainerExit exit;
  exit.container = ContainerId{5};
  {
    const FullDisk full;
    const auto kept = files().keep_exit(exit);
    ASSERT_FALSE(kept.ok());
    EXPECT_EQ(kept.error().code, ErrorCode::storage_failed);
  }
  // Enough for a later life of the node to tell that it has ended, and nothing half written.
  EXPECT_EQ(names(), (std::set<std::string>{"meta.json", "pid"}));
  ASSERT_TRUE(files().keep_exit(exit).ok());
  EXPECT_EQ(names(), (std::set<std::string>{"exit.json"}));
  EXPECT_TRUE(files().read_exit());
}

TEST_F(ContainerFilesTest, LeaveNothingOfAFileThatCouldNotBeWritten) {
  {
    const FullDisk full;
    const auto written = write_file(root_ + "/note", "text", 0600);
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code, ErrorCode::storage_failed);
  }
  EXPECT_TRUE(fs::is_directory(root_));
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace ember

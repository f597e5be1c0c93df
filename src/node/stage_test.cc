#include "node/stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "node/container_files.h"

namespace ember {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::uint32_t kFirst = 0x7000'0000;

class StagedOverlayTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounts take root";
    char name[] = "/tmp/ember-stage-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    for (const char* one : {"/low/a", "/high/b", "/upper/files", "/upper/work"}) {
      fs::create_directories(root_ + one);
    }
    std::ofstream(root_ + "/low/a/kept") << "low\n";
    std::ofstream(root_ + "/low/a/both") << "low\n";
    fs::create_directories(root_ + "/high/a");
    std::ofstream(root_ + "/high/a/both") << "high\n";
    ::chmod((root_ + "/low/a/kept").c_str(), 0600);
    ASSERT_EQ(::chown((root_ + "/low/a/both").c_str(), 7, 8), 0);
  }
  void TearDown() override {
    std::error_code ignored;
    if (!root_.empty()) fs::remove_all(root_, ignored);
  }

  // Runs the script on the stage, as the user that 0 is mapped to, within the mapped namespace.
  std::string run(const Stage& stage, const std::string& script) {
    const std::string output = root_ + "/output";
    Command command;
    command.argv = {"/usr/bin/setpriv",
                    "--reuid",
                    std::to_string(kFirst),
                    "--regid",
                    std::to_string(kFirst),
                    "--clear-groups",
                    "/bin/sh",
                    "-c",
                    script};
    const UniqueFd file(::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644));
    command.output = file.get();
    command.steps = stage.steps();
    const auto pid = spawn(command);
    EXPECT_TRUE(pid.ok());
    int status = -1;
    ::waitpid(*pid, &status, 0);
    return read_file(output).value_or("") + "status " + std::to_string(WEXITSTATUS(status));
  }

  Stage overlay(bool in_memory) {
    Stage stage;
    const int users = *maps_.from(kFirst);
    stage.add_idmapped("low", root_ + "/low", users, MountAccess::read_only);
    stage.add_idmapped("high", root_ + "/high", users, MountAccess::read_only);
    if (in_memory) {
      stage.add_upper_in_memory("upper", 1 << 20, kFirst);
    } else {
      stage.add_idmapped("upper", root_ + "/upper", users, MountAccess::read_write);
    }
    stage.add_overlay({"merged", {"low", "high"}, "upper", kFirst});
    return stage;
  }

  std::string root_;
  IdMaps maps_;
};

TEST_F(StagedOverlayTest, ShowsTheTopmostFileAndOwnersShifted) {
  const std::string seen =
      run(overlay(true), "cd /mnt/merged; cat a/kept a/both; stat -c %u:%g a/kept; ls");
  EXPECT_EQ(seen, "low\nhigh\n1879048192:1879048192\na\nb\nstatus 0");
}

TEST_F(StagedOverlayTest, WritesToTheUpperDirectoryAloneWithOwnersAsOnDisk) {
  EXPECT_EQ(run(overlay(false), "cd /mnt/merged; echo new > a/new; echo more >> a/kept; rm a/both"),
            "status 0");
  struct stat status {};
  ASSERT_EQ(::stat((root_ + "/upper/files/a/new").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 0u);
  EXPECT_EQ(read_file(root_ + "/upper/files/a/kept"), "low\nmore\n");
  EXPECT_EQ(read_file(root_ + "/low/a/kept"), "low\n");
  ASSERT_EQ(::lstat((root_ + "/upper/files/a/both").c_str(), &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode)) << "a whiteout";
}

TEST_F(StagedOverlayTest, KeepsNothingOfWhatIsWrittenInMemoryAndNoMoreThanItsSize) {
  const std::string seen =
      run(overlay(true), "cd /mnt/merged; echo x > a/new && head -c 2000000 /dev/zero > a/large");
  EXPECT_THAT(seen, HasSubstr("No space left on device"));
  EXPECT_FALSE(fs::exists(root_ + "/low/a/new"));
}

TEST_F(StagedOverlayTest, CannotBeWrittenBelow) {
  EXPECT_THAT(run(overlay(true), "echo x > /mnt/low/a/new"), HasSubstr("status 2"));
}

TEST_F(StagedOverlayTest, MakesOneUserNamespaceForEachRange) {
  EXPECT_EQ(*maps_.from(kFirst), *maps_.from(kFirst));
  EXPECT_NE(*maps_.from(kFirst), *maps_.from(kFirst + kMappedIds));
}

}  // namespace
}  // namespace ember

// A program kept in memory: what its file was, whatever becomes of that.
#include "node/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "node/process_table.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

// A copy of the machine's shell under a name of this test's own.
class ProgramTest : public testing::Test {
 protected:
  ProgramTest() : path_(testing::TempDir() + "sh-" + std::to_string(::getpid())) {
    fs::copy_file(fs::canonical("/bin/sh"), path_, fs::copy_options::overwrite_existing);
  }
  ~ProgramTest() override { fs::remove(path_); }

  // The exit status of the shell's run of a line.
  int run(const Program& program, const std::string& line) {
    Command command;
    command.argv = {program.path, "-c", line};
    command.program = program.sealed;
    const auto pid = spawn(command);
    int status = -1;
    if (!pid.ok() || ::waitpid(*pid, &status, 0) != *pid) return -1;
    return WEXITSTATUS(status);
  }

  const std::string path_;
};

TEST_F(ProgramTest, RunsOnceItsFileHasGoneUnderTheNameOfThatFile) {
  const Program kept = keep_in_memory(path_);
  fs::remove(path_);
  EXPECT_EQ(run(kept, "exit 7"), 7);
  EXPECT_EQ(run(kept, "[ \"$0\" = \"" + path_ + "\" ] && exit 3"), 3);
  EXPECT_EQ(run({path_}, "exit 7"), kPreparationFailed) << "that file is gone";
}

TEST_F(ProgramTest, CannotBeWritten) {
  const Program kept = keep_in_memory(path_);
  ASSERT_TRUE(kept.sealed);
  EXPECT_EQ(::write(kept.sealed->get(), "x", 1), -1);
  EXPECT_EQ(errno, EPERM);
}

// crun makes no copy of itself where the seals are just these.
TEST_F(ProgramTest, HasTheSealsThatCrunAsksFor) {
  const Program kept = keep_in_memory(path_);
  ASSERT_TRUE(kept.sealed);
  EXPECT_EQ(::fcntl(kept.sealed->get(), F_GET_SEALS),
            F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

TEST_F(ProgramTest, IsRunFromItsPathWhereItCannotBeRead) {
  const Program kept = keep_in_memory(path_ + ".missing");
  EXPECT_FALSE(kept.sealed);
  EXPECT_EQ(kept.path, path_ + ".missing");
}

}  // namespace
}  // namespace ember

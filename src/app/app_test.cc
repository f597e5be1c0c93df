#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "app/data_directory.h"
#include "app/listen_address.h"
#include "app/privileges.h"
#include "app/serve_limits.h"
#include "gateway/options.h"
#include "model/function.h"

namespace ember {
namespace {

class DataDirectory : public testing::Test {
 protected:
  DataDirectory() {
    char name[] = "/tmp/ember-app-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~DataDirectory() override { std::filesystem::remove_all(path_); }
  std::string path_;
};

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 0777;
}

std::string fixed_key() { return "em-first"; }
std::string other_key() { return "em-second"; }

TEST_F(DataDirectory, IsMadeWithParentsAndPrivateState) {
  const std::string data = path_ + "/a/b";
  ASSERT_TRUE(prepare_data_directory(data, Role::serve).ok());
  ASSERT_TRUE(prepare_data_directory(data, Role::node).ok());
  EXPECT_EQ(mode_of(data + "/serve"), 0700u);
  EXPECT_EQ(mode_of(data + "/node"), 0711u);
}

TEST_F(DataDirectory, KeepsTheFirstKeyReadableByItsOwnerAlone) {
  EXPECT_EQ(*read_or_make_key(path_, fixed_key), "em-first");
  EXPECT_EQ(*read_or_make_key(path_, other_key), "em-first");
  EXPECT_EQ(mode_of(path_ + "/key"), 0600u);
}

TEST_F(DataDirectory, RefusesASecondOwnerAndNamesTheFirst) {
  auto first = take_pid_file(path_, Role::serve);
  ASSERT_TRUE(first.ok());
  const auto second = take_pid_file(path_, Role::serve);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_NE(second.error().message.find(std::to_string(getpid())), std::string::npos);
  EXPECT_TRUE(take_pid_file(path_, Role::node).ok());
  first = Result<UniqueFd>(UniqueFd());
  EXPECT_TRUE(take_pid_file(path_, Role::serve).ok());
}

TEST(ServeLimits, TakeWhatTheMachineGives) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{128, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(raise_descriptor_limit(), before.rlim_max);
  rlimit after{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST(ServeLimits, LeaveDescriptorsForWhatIsNotAConnection) {
  EXPECT_EQ(connections_within(1'000'000, 20'000), 20'000u);
  EXPECT_EQ(connections_within(20'000, 20'000), 17'952u);
  EXPECT_EQ(connections_within(1'024, 20'000), 512u);
}

TEST(ServeLimits, LetInMoreThanTheCallsOfOneFunction) {
  EXPECT_GT(ServerLimits{}.connections, Scaling{}.queue_limit);
}

TEST(Privileges, AreGivenUpForGood) {
  const pid_t child = fork();
  if (child == 0) {
    const bool gone = give_up_privileges().ok() && geteuid() != 0 && setuid(0) != 0;
    _exit(gone ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ListenAddress, ReadsWhatPeopleWriteAndShowsWhereClientsGo) {
  EXPECT_EQ(parse_listen_address("127.0.0.1:7777")->url(7777), "http://127.0.0.1:7777");
  EXPECT_EQ(parse_listen_address("[::1]:0")->url(8080), "http://[::1]:8080");
  EXPECT_EQ(parse_listen_address("0.0.0.0:80")->url(80), "http://127.0.0.1:80");
}

TEST(ListenAddress, RefusesWhatIsNotOne) {
  for (const char* text :
       {"", ":", "127.0.0.1", "127.0.0.1:", "localhost:80", "1.2.3.4:65536", "1.2.3.4:x"}) {
    EXPECT_FALSE(parse_listen_address(text).ok()) << text;
  }
}

}  // namespace
}  // namespace ember

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "app/data_directory.h"
#include "app/listen_address.h"
#include "app/master_key_file.h"
#include "app/privileges.h"
#include "app/serve_limits.h"
#include "app/web_place.h"
#include "gateway/options.h"
#include "model/function.h"

namespace ember {
namespace {

using testing::HasSubstr;

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

class MasterKeyTest : public DataDirectory {
 protected:
  using Sealed = MasterKeyFile::Sealed;

  Result<std::optional<MasterKey>> take(Sealed sealed, const MasterKeyFlags& flags = {}) {
    auto file = MasterKeyFile::open(path_, flags);
    if (!file) return std::move(file).error();
    return file->take(sealed);
  }
  std::string text() { return std::string((*take(Sealed::nothing))->text().view()); }
  std::string file() const { return path_ + "/master.key"; }
  void write(const std::string& content) { std::ofstream(file()) << content; }
};

TEST_F(MasterKeyTest, IsMadeOnceForItsOwnerAlone) {
  const std::string first = text();
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(text(), first);
  struct stat status;
  ASSERT_EQ(stat(file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(MasterKeyTest, IsNotMadeAnewWhereSomethingIsSealed) {
  const auto taken = take(Sealed::something);
  ASSERT_TRUE(taken.ok());
  EXPECT_FALSE(taken->has_value());
  EXPECT_FALSE(take(Sealed::something)->has_value()) << "also of an empty file";
}

TEST_F(MasterKeyTest, IsRefusedWhereOthersMayReadIt) {
  text();
  for (const mode_t mode : {0640, 0604, 0644}) {
    ASSERT_EQ(chmod(file().c_str(), mode), 0);
    const auto refused = take(Sealed::nothing);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::permission_denied);
    EXPECT_THAT(refused.error().message, HasSubstr("chmod 600 " + file()));
  }
}

TEST_F(MasterKeyTest, IsRefusedWhereItIsNone) {
  write("not a key\n");
  ASSERT_EQ(chmod(file().c_str(), 0600), 0);
  const auto refused = take(Sealed::nothing);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("64 hex digits"));
}

TEST_F(MasterKeyTest, ComesFromAVariableThatIsWiped) {
  const std::string digits(64, '7');
  ASSERT_EQ(setenv("KEY_OF_A_TEST", digits.c_str(), 1), 0);
  const char* value = getenv("KEY_OF_A_TEST");
  const auto key = take(Sealed::something, {.env = "KEY_OF_A_TEST", .command = ""});
  ASSERT_TRUE(key.ok() && key->has_value());
  EXPECT_EQ((*key)->text().view(), digits);
  EXPECT_EQ(getenv("KEY_OF_A_TEST"), nullptr);
  EXPECT_EQ(std::string(value, 4), std::string(4, '\0'));
  const auto gone = take(Sealed::something, {.env = "KEY_OF_A_TEST", .command = ""});
  ASSERT_FALSE(gone.ok());
  EXPECT_THAT(gone.error().message, HasSubstr("KEY_OF_A_TEST"));
  EXPECT_NE(access(file().c_str(), F_OK), 0) << "no file where the key is kept elsewhere";
}

TEST_F(MasterKeyTest, ComesFromACommand) {
  const std::string digits(64, 'b');
  const auto key = take(Sealed::something, {.env = "", .command = "echo " + digits});
  ASSERT_TRUE(key.ok() && key->has_value());
  EXPECT_EQ((*key)->text().view(), digits);
  const auto failed =
      take(Sealed::something, {.env = "", .command = "echo " + digits + "; exit 3"});
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message, HasSubstr("status 3"));
  EXPECT_THAT(failed.error().message, testing::Not(HasSubstr("bbbb")));
}

TEST(CoreDumps, AreForbidden) {
  const pid_t child = fork();
  if (child == 0) {
    rlimit limit{};
    const bool closed = forbid_core_dumps().ok() && prctl(PR_GET_DUMPABLE) == 0 &&
                        getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0;
    _exit(closed ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
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
  EXPECT_EQ(web_connections_within(1'000'000, 20'000), 20'000u);
  EXPECT_EQ(web_connections_within(20'000, 20'000), 512u);
  EXPECT_EQ(web_connections_within(1'024, 20'000), 128u);
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

TEST(WebPlace, IsLocalhostUnlessADomainIsNamed) {
  EXPECT_EQ(web_place("", 7778)->after_label(), "localhost:7778");
  EXPECT_EQ(web_place("apps.example.com", 80)->after_label(), "apps.example.com:80");
  EXPECT_EQ(web_place("apps.example.com:8080", 80)->after_label(), "apps.example.com:8080");
  const auto proxied = web_place("https://apps.example.com", 7778);
  EXPECT_EQ(proxied->scheme + "://" + proxied->after_label(), "https://apps.example.com");
  EXPECT_EQ(proxied->name, "apps.example.com");
  for (const char* text : {"ftp://a.com", "https://", "a b", ".a", "a.", "a:x", "a:123456"}) {
    EXPECT_FALSE(web_place(text, 1).ok()) << text;
  }
}

TEST(WebPlace, IsListenedForAtTheNextPort) {
  EXPECT_EQ(web_address("", {"127.0.0.1", 7777})->port, 7778);
  EXPECT_EQ(web_address("", {"127.0.0.1", 0})->port, 0);
  EXPECT_EQ(web_address("", {"127.0.0.1", 65535})->port, 0);
  EXPECT_EQ(web_address("0.0.0.0:80", {"127.0.0.1", 7777})->host, "0.0.0.0");
  EXPECT_FALSE(web_address("nonsense", {"127.0.0.1", 7777}).ok());
}

TEST(ListenAddress, RefusesWhatIsNotOne) {
  for (const char* text :
       {"", ":", "127.0.0.1", "127.0.0.1:", "localhost:80", "1.2.3.4:65536", "1.2.3.4:x"}) {
    EXPECT_FALSE(parse_listen_address(text).ok()) << text;
  }
}

}  // namespace
}  // namespace ember

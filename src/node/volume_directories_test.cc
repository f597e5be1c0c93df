#include "node/volume_directories.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace ember {
namespace {

namespace fs = std::filesystem;

TEST(VolumeDirectoriesTest, LieBeneathTheDriversDirectoryAndBehindNoLink) {
  std::string pattern = testing::TempDir() + "ember-volumes-XXXXXX";
  const std::string root = ::mkdtemp(pattern.data());
  fs::create_directories(root + "/store/layers/x");
  fs::create_directories(root + "/outside");
  fs::create_directory_symlink("../outside", root + "/store/out");
  fs::create_directory_symlink("layers", root + "/store/in");
  {
    const UniqueFd store(::open((root + "/store").c_str(), O_PATH | O_DIRECTORY));
    EXPECT_TRUE(open_directory_beneath(store.get(), "layers/x"));
    for (const char* path : {"..", "../outside", "/etc", "out", "in/x", "layers/../../outside",
                             "layers/y", "/proc/self/root"}) {
      EXPECT_FALSE(open_directory_beneath(store.get(), path)) << path;
    }
  }
  fs::remove_all(root);
}

TEST(VolumeDirectoriesTest, AreFewAndWhereAContainerHasNothingOfItsOwn) {
  const auto check = [](std::string path, std::size_t lowers) {
    return check_volumes({{std::move(path), std::vector<std::string>(lowers, "x"), ""}}).ok();
  };
  EXPECT_TRUE(check("/data", 2));
  EXPECT_FALSE(check("/data", 1));
  EXPECT_FALSE(check("/data", 251));
  EXPECT_FALSE(check("/usr/lib", 2));
  EXPECT_FALSE(check("/data/../etc", 2));
}

}  // namespace
}  // namespace ember

#include "model/volume.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

TEST(VolumePathTest, LeadsNowhereButIntoTheVolume) {
  for (const char* fine : {"a", "a/b", "name with spaces", "..a", "a..", "ünicode", ".hidden"}) {
    EXPECT_TRUE(check_volume_path(fine).ok()) << fine;
  }
  for (const std::string& wrong :
       {std::string(""), std::string("/a"), std::string("a/"), std::string("a//b"),
        std::string(".."), std::string("a/../b"), std::string("."), std::string("a/."),
        std::string("a\0b", 3), std::string(256, 'x'),
        std::string(600, 'a') + "/" + std::string(600, 'b')}) {
    EXPECT_FALSE(check_volume_path(wrong).ok()) << wrong;
  }
}

std::string why_not(std::vector<VolumeMount> mounts) {
  const auto checked = check_volume_mounts(mounts, "volumes");
  return checked.ok() ? "" : checked.error().message;
}

TEST(VolumeMountTest, StandsWhereTheContainerHasNothingOfItsOwn) {
  for (const char* fine : {"/data", "/models/large", "/root/models", "/tmp/x", "/mnt", "/usrx"}) {
    EXPECT_EQ(why_not({{.path = fine, .volume = "v", .sub_path = ""}}), "") << fine;
  }
  for (const char* wrong : {"", "/", "data", "/data/", "/a/../usr", "/usr", "/usr/lib", "/proc",
                            "/etc/x", "/ember", "/root", "/tmp", "/a:b", "/a\n"}) {
    EXPECT_NE(why_not({{.path = wrong, .volume = "v", .sub_path = ""}}), "") << wrong;
  }
}

TEST(VolumeMountTest, IsOneOfEachVolumeAndLiesInNoOther) {
  const VolumeMount a{.path = "/data", .volume = "a", .sub_path = ""};
  VolumeMount b{.path = "/data/b", .volume = "b", .sub_path = ""};
  EXPECT_NE(why_not({a, b}).find("within each other"), std::string::npos);
  b.path = "/datab";
  EXPECT_EQ(why_not({a, b}), "");
  b.volume = "a";
  EXPECT_NE(why_not({a, b}).find("twice"), std::string::npos);
  b.volume = "../b";
  EXPECT_NE(why_not({a, b}).find("volumes[1].name"), std::string::npos);
}

}  // namespace
}  // namespace ember

#include "node/mount_table.h"

#include <gmock/gmock.h>

namespace ember {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(MountTable, TellsWhatIsMountedBelowADirectoryOuterOnesFirst) {
  const std::string table =
      "36 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
      "40 36 0:34 / /usr/local/nvidia/x rw - tmpfs tmpfs rw\n"
      "37 36 254:16 / /usr/local/nvidia ro,nosuid,nodev - squashfs /dev/vdb ro\n"
      "38 36 0:33 / /usrx rw - tmpfs tmpfs rw\n"
      "39 36 0:35 / /usr rw - tmpfs tmpfs rw\n"
      "41 36 0:36 / /usr/local/nvidia rw - tmpfs tmpfs rw\n";
  EXPECT_THAT(mount_points_below("/usr", table),
              ElementsAre("/usr/local/nvidia", "/usr/local/nvidia/x"));
}

TEST(MountTable, ReadsNamesWithBlanksAndBackslashes) {
  EXPECT_THAT(mount_points_below("/usr", "1 2 3:4 / /usr/a\\040b\\134c rw - tmpfs t rw\n"),
              ElementsAre("/usr/a b\\c"));
}

TEST(MountTable, PassesOverTornLines) {
  EXPECT_THAT(mount_points_below("/usr", "1 2 3:4\n\n1 2 3:4 /usr/a"), IsEmpty());
}

}  // namespace
}  // namespace ember

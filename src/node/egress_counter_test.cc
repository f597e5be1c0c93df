#include "node/egress_counter.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

constexpr const char* kHeading =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
    "fifo colls carrier compressed\n";

TEST(EgressCounter, AddsUpWhatAllInterfacesButTheLoopbackHaveSent) {
  const std::string text = std::string(kHeading) +
                           "    lo:     500       5    0    0    0     0          0         0      "
                           "500       5    0    0    0     0       0          0\n"
                           "  tap0:   59064     101    0    0    0     0          0         0   "
                           "104242     101    0    0    0     0       0          0\n"
                           "  eth0:9 1 0 0 0 0 0 0 5000000000 1 0 0 0 0 0 0\n";
  EXPECT_EQ(transmitted_bytes(text), 5'000'104'242);
}

TEST(EgressCounter, CountsNothingWhereThereIsNothingToRead) {
  EXPECT_EQ(transmitted_bytes(""), 0);
  EXPECT_EQ(transmitted_bytes(kHeading), 0);
  EXPECT_EQ(transmitted_bytes("tap0: 1 2 3\n:\nx"), 0);
}

}  // namespace
}  // namespace ember

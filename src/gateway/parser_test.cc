// The parser on its own: what it makes of bytes does not depend on how they are cut, and no bytes
// bring it down.
#include <gtest/gtest.h>

#include "base/random.h"
#include "gateway/parser_fixture.h"

namespace ember {
namespace {

const std::string kSeeds[] = {
    "GET /a?b=c HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\nContent-Type: application/json\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    "4;x=\"y\"\r\nabcd\r\n0\r\n\r\n",
    "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\nZ: w\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
};

TEST(RequestParser, ReadsEachSeedWhole) {
  EXPECT_EQ(outcome(kSeeds[0], [] { return 1000u; }), "head /a?b=c|localhost|");
  EXPECT_EQ(outcome(kSeeds[2], [] { return 1000u; }), "whole /a|h|abcd");
  EXPECT_EQ(outcome(kSeeds[4], [] { return 1u; }), "whole /a|h|abc");
}

TEST(RequestParser, RefusesALineThatEndsInABareLineFeedWithoutWaitingForMore) {
  const std::string chunked = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& bytes :
       {std::string("GET /a HTTP/1.1\n"), std::string("GET /a HTTP/1.1\r\nHost: h\n"),
        chunked + "c\n", chunked + "c\nabcdefghijkl", chunked + "1\r\n\n\r\n2\n",
        chunked + "0\r\nX: y\n"}) {
    EXPECT_EQ(outcome(bytes, [] { return 1000u; }), "refused 400") << bytes;
    EXPECT_EQ(outcome(bytes, [] { return 1u; }), "refused 400") << bytes;
  }
  EXPECT_EQ(outcome(chunked + "7\r\n\n\na\n\nb\n\r\n0\r\n\r\n", [] { return 1u; }),
            "whole /a|h|\n\na\n\nb\n");
}

TEST(RequestParser, SurvivesAnyBytesAndReadsThemAlikeHoweverTheyAreCut) {
  constexpr std::uint64_t kSeed = 20261125;
  constexpr std::string_view kTelling("\r\n \t:;,0123af\0\"/\x80", 17);
  Random random(kSeed);
  for (int round = 0; round < 30'000; ++round) {
    std::string bytes = kSeeds[random.below(std::size(kSeeds))];
    for (std::uint64_t i = random.below(4); i > 0; --i) {
      const std::size_t at = random.below(bytes.size());
      const char telling = kTelling[random.below(kTelling.size())];
      switch (random.below(4)) {
        case 0:
          bytes[at] = telling;
          break;
        case 1:
          bytes.insert(at, 1 + random.below(3), telling);
          break;
        case 2:
          bytes.erase(at, 1 + random.below(3));
          break;
        default:
          bytes.insert(at, bytes.substr(random.below(bytes.size()), random.below(40)));
      }
      if (bytes.empty()) bytes = "x";
    }
    const std::string whole = outcome(bytes, [] { return 100'000u; });
    const std::string single = outcome(bytes, [] { return 1u; });
    const std::string cut = outcome(bytes, [&] { return 1 + random.below(20); });
    ASSERT_EQ(accepted(whole), accepted(single)) << "seed " << kSeed << " round " << round << "\n"
                                                 << bytes;
    ASSERT_EQ(accepted(whole), accepted(cut)) << "seed " << kSeed << " round " << round << "\n"
                                              << bytes;
  }
}

}  // namespace
}  // namespace ember

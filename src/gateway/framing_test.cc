// Requests on whose framing two servers could disagree: each is refused with an error and a close,
// so that nothing behind it is ever taken for a request of its own.
#include <gtest/gtest.h>

#include "gateway/test_client.h"

namespace ember {
namespace {

using namespace std::string_literals;

struct BadFraming {
  const char* name;
  std::string bytes;
  int status;
};

const std::string kSmuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

std::string post(const std::string& fields, const std::string& body) {
  return "POST /fn/a/b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ek-good\r\n" + fields +
         "\r\n" + body;
}

class BadFramingTest : public GatewayTest, public ::testing::WithParamInterface<BadFraming> {};

TEST_P(BadFramingTest, IsRefusedAndTheConnectionClosed) {
  TestClient client = connect();
  client.send(GetParam().bytes + kSmuggled);
  EXPECT_EQ(client.read().status, GetParam().status);
  EXPECT_TRUE(client.closed_by_server()) << "something followed the refusal";
  EXPECT_TRUE(control.calls.empty());
}

TEST_P(BadFramingTest, IsRefusedByteByByteToo) {
  TestClient client = connect();
  for (const char c : GetParam().bytes) {
    if (!client.send(std::string_view(&c, 1))) break;
    loop.poll();
  }
  client.send(kSmuggled);
  EXPECT_EQ(client.read().status, GetParam().status);
  EXPECT_TRUE(client.closed_by_server());
  EXPECT_TRUE(control.calls.empty());
}

const std::string kEnd = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";

INSTANTIATE_TEST_SUITE_P(
    Framing, BadFramingTest,
    ::testing::Values(
        BadFraming{"ClThenTe",
                   post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nX"), 400},
        BadFraming{"TeThenCl",
                   post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"), 400},
        BadFraming{"TwoLengths", post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"), 400},
        BadFraming{"TwoEqualLengths", post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"),
                   400},
        BadFraming{"LengthList", post("Content-Length: 2, 2\r\n", "{}"), 400},
        BadFraming{"LengthWithSign", post("Content-Length: +2\r\n", "{}"), 400},
        BadFraming{"NegativeLength", post("Content-Length: -2\r\n", "{}"), 400},
        BadFraming{"HexLength", post("Content-Length: 0x2\r\n", "{}"), 400},
        BadFraming{"EmptyLength", post("Content-Length: \r\n", "{}"), 400},
        BadFraming{"HugeLength", post("Content-Length: 18446744073709551618\r\n", "{}"), 400},
        BadFraming{
            "TwoTes",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
        BadFraming{"TeGzipChunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400},
        BadFraming{"TeChunkedGzip", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), 400},
        BadFraming{"TeIdentity", post("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", "{}"),
                   400},
        BadFraming{"TeUnknown", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 400},
        BadFraming{"TeListEmptyEnd", post("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n"), 400},
        BadFraming{"TeListEmptyBegin", post("Transfer-Encoding: , chunked\r\n", "0\r\n\r\n"), 400},
        BadFraming{"TeTwiceInOne", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
                   400},
        BadFraming{"TeQuoted", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), 400},
        BadFraming{"TeWithParameter", post("Transfer-Encoding: chunked;x=y\r\n", "0\r\n\r\n"), 400},
        BadFraming{"TeVerticalTab",
                   post("Transfer-Encoding: \x0b"
                        "chunked\r\n",
                        "0\r\n\r\n"),
                   400},
        BadFraming{"TeEmpty", post("Transfer-Encoding:\r\nContent-Length: 2\r\n", "{}"), 400},
        BadFraming{
            "TeIdentityThenChunked",
            post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            400},
        BadFraming{"TeInHttp10",
                   "POST /fn/a/b HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: "
                   "chunked\r\n\r\n0\r\n\r\n",
                   400},
        BadFraming{"SpaceBeforeColon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), 400},
        BadFraming{"TabInTeName", post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"), 400},
        BadFraming{"FoldedLine", kEnd + "X: a\r\n b\r\n\r\n", 400},
        BadFraming{"FoldedTe", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), 400},
        BadFraming{"LeadingSpaceInFirstField", "GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n",
                   400},
        BadFraming{"BareLfAfterLine", "GET /healthz HTTP/1.1\nHost: localhost\n\n", 400},
        BadFraming{"BareLfInFields", kEnd + "X: y\nZ: w\r\n\r\n", 400},
        BadFraming{"BareCrInField", kEnd + "X: y\rZ\r\n\r\n", 400},
        BadFraming{"CrWithoutLfAtTheEnd", kEnd + "\rX\r\n\r\n", 400},
        BadFraming{"NulInName", kEnd + "X\0Y: z\r\n\r\n"s, 400},
        BadFraming{"NulInValue", kEnd + "X: y\0z\r\n\r\n"s, 400},
        BadFraming{"NulInTarget", "GET /heal\0thz HTTP/1.1\r\nHost: localhost\r\n\r\n"s, 400},
        BadFraming{"NoColon", kEnd + "nonsense\r\n\r\n", 400},
        BadFraming{"EmptyName", kEnd + ": x\r\n\r\n", 400},
        BadFraming{"TwoHosts", kEnd + "Host: localhost\r\n\r\n", 400},
        BadFraming{"HostOfTwo", "GET /healthz HTTP/1.1\r\nHost: localhost, evil\r\n\r\n", 400},
        BadFraming{"HostWithPath", "GET /healthz HTTP/1.1\r\nHost: localhost/evil\r\n\r\n", 400},
        BadFraming{"HostWithUser", "GET /healthz HTTP/1.1\r\nHost: localhost:@evil\r\n\r\n", 400},
        BadFraming{"HostWithSpace", "GET /healthz HTTP/1.1\r\nHost: localhost evil\r\n\r\n", 400},
        BadFraming{"HostFolded", "GET /healthz HTTP/1.1\r\nHost:\r\n localhost\r\n\r\n", 400},
        BadFraming{"NoHost", "GET /healthz HTTP/1.1\r\n\r\n", 400},
        BadFraming{"TwoKeys", post("Authorization: Bearer ek-other\r\n", ""), 400},
        BadFraming{"AbsoluteTarget",
                   "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"AsteriskTarget", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"Fragment", "GET /healthz#x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"TwoSpaces", "GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"SpaceInTarget", "GET /heal thz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"TabsForSpaces", "GET\t/healthz\tHTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"SpaceAfterVersion", "GET /healthz HTTP/1.1 \r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"CrInTarget", "GET /heal\rthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"MethodIsNoToken", "G(T /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"NoMethod", " /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"AuthorityTarget", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
                   400},
        BadFraming{"Http12", "GET /healthz HTTP/1.2\r\nHost: localhost\r\n\r\n", 505},
        BadFraming{"Http09", "GET /healthz HTTP/0.9\r\nHost: localhost\r\n\r\n", 505},
        BadFraming{"HttpLowerCase", "GET /healthz http/1.1\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"HttpLongVersion", "GET /healthz HTTP/1.10\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"NoVersion", "GET /healthz\r\nHost: localhost\r\n\r\n", 400},
        BadFraming{"Http2", "GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505},
        BadFraming{"Http2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        BadFraming{"TlsHello", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"s, 400},
        BadFraming{"BadChunkSize", post("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"),
                   400},
        BadFraming{"NegativeChunkSize",
                   post("Transfer-Encoding: chunked\r\n", "-2\r\n{}\r\n0\r\n\r\n"), 400},
        BadFraming{"HugeChunkSize",
                   post("Transfer-Encoding: chunked\r\n", "ffffffffffffffff1\r\n{}\r\n"), 400},
        BadFraming{"HexPrefixOfChunkSize",
                   post("Transfer-Encoding: chunked\r\n", "0x2\r\n{}\r\n0\r\n\r\n"), 400},
        BadFraming{"SignOfChunkSize",
                   post("Transfer-Encoding: chunked\r\n", "+2\r\n{}\r\n0\r\n\r\n"), 400},
        BadFraming{"SpaceBeforeChunkSize",
                   post("Transfer-Encoding: chunked\r\n", " 2\r\n{}\r\n0\r\n\r\n"), 400},
        BadFraming{"UnderscoreInChunkSize",
                   post("Transfer-Encoding: chunked\r\n", "0_2\r\n{}\r\n0\r\n\r\n"), 400},
        BadFraming{"NoChunkSize", post("Transfer-Encoding: chunked\r\n", "\r\n{}\r\n0\r\n\r\n"),
                   400},
        BadFraming{"ChunkSizeOverflow",
                   post("Transfer-Encoding: chunked\r\n", "10000000000000002\r\n{}\r\n0\r\n\r\n"),
                   400},
        BadFraming{"ChunkEndsInLfAlone",
                   post("Transfer-Encoding: chunked\r\n", "2\r\n{}\n0\r\n\r\n"), 400},
        BadFraming{"ChunkEndsInCrAlone",
                   post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r0\r\n\r\n"), 400},
        BadFraming{"CrInChunkExtension",
                   post("Transfer-Encoding: chunked\r\n", "2;a\rb\r\n{}\r\n0\r\n\r\n"), 400},
        BadFraming{"NulInChunkExtension",
                   post("Transfer-Encoding: chunked\r\n", "2;a\0b\r\n{}\r\n0\r\n\r\n"s), 400},
        BadFraming{
            "LengthInTrailers",
            post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n"),
            400},
        BadFraming{"TeInTrailers",
                   post("Transfer-Encoding: chunked\r\n",
                        "2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
                   400},
        BadFraming{"FoldedTrailer",
                   post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nX: y\r\n z\r\n\r\n"),
                   400},
        BadFraming{"BareLfInTrailers",
                   post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nX: y\n\r\n"), 400},
        BadFraming{"BareLfAfterChunkSize",
                   post("Transfer-Encoding: chunked\r\n", "2\n{}\r\n0\r\n\r\n"), 400},
        BadFraming{"BareLfInChunkExtension",
                   post("Transfer-Encoding: chunked\r\n", "2;a=\"\n\"\r\n{}\r\n0\r\n\r\n"), 400},
        BadFraming{"BareLfInLastChunkExtension",
                   post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0;a=\"\n\"\r\n\r\n"), 400},
        BadFraming{"ChunkLongerThanSaid",
                   post("Transfer-Encoding: chunked\r\n", "2\r\n{}x\r\n0\r\n\r\n"), 400},
        BadFraming{"SpaceAfterChunkSize",
                   post("Transfer-Encoding: chunked\r\n", "2 \r\n{}\r\n0\r\n\r\n"), 400},
        BadFraming{"BadExpect", post("Expect: miracles\r\nContent-Length: 2\r\n", "{}"), 417},
        BadFraming{"HugeHead", kEnd + "X: " + std::string(20'000, 'x') + "\r\n\r\n", 431},
        BadFraming{"ManyFields",
                   kEnd +
                       [] {
                         std::string fields;
                         for (int i = 0; i < 4000; ++i) fields += "X: y\r\n";
                         return fields;
                       }() +
                       "\r\n",
                   431},
        BadFraming{"HugeTarget",
                   "GET /" + std::string(20'000, 'x') + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
                   431},
        BadFraming{"HugeChunkExtension",
                   post("Transfer-Encoding: chunked\r\n",
                        "2;" + std::string(20'000, 'x') + "\r\n{}\r\n0\r\n\r\n"),
                   400},
        BadFraming{"HugeTrailers",
                   post("Transfer-Encoding: chunked\r\n",
                        "2\r\n{}\r\n0\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n"),
                   400}),
    [](const auto& test) { return std::string(test.param.name); });

// A trailer is nobody's header: it changes neither whose the message is nor what follows it.
TEST_F(GatewayTest, ATrailerIsNoHeader) {
  TestClient client = connect();
  client.send(
      "PUT /api/v1/blobs/aa HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
      "Authorization: Bearer ek-good\r\n\r\n2\r\nok\r\n0\r\nHost: evil\r\n"
      "Authorization: Bearer ek-evil\r\nExpect: miracles\r\n\r\n" +
      kEnd + "\r\n");
  EXPECT_EQ(client.read().status, 200);
  EXPECT_EQ(control.blobs["aa"], "ok");
  EXPECT_EQ(client.read().status, 200) << "the next request is the next request";
}

class GoodFramingTest : public GatewayTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(GoodFramingTest, IsServed) {
  TestClient client = connect();
  client.send(GetParam());
  EXPECT_EQ(client.read().status, 200);
}

INSTANTIATE_TEST_SUITE_P(
    Framing, GoodFramingTest,
    ::testing::Values("GET /healthz HTTP/1.1\r\nhOsT:localhost\r\n\r\n",
                      "GET /healthz HTTP/1.1\r\nHost: \t localhost \t \r\n\r\n",
                      "GET /healthz?x=y HTTP/1.1\r\nHost: localhost\r\nX: \x80\xff\r\n\r\n",
                      "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
                      "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"));

}  // namespace
}  // namespace ember

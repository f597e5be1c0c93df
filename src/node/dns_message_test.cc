#include "node/dns_message.h"

#include <arpa/nameser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ember {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint16_t kId = 0x1234;

DnsQuestion question(const std::string& name, std::uint16_t type = ns_t_a) {
  DnsQuestion one;
  one.id = kId;
  one.recursion_desired = true;
  one.name = name;
  one.type = type;
  return one;
}

// A record of the name asked for.
std::string record(std::uint16_t type, const std::string& data) {
  std::string bytes("\xc0\x0c", 2);
  bytes += {0, static_cast<char>(type), 0, 1, 0, 0, 0, 60, 0, static_cast<char>(data.size())};
  return bytes + data;
}

std::string answer(const DnsQuestion& asked, const std::vector<std::string>& records,
                   std::uint16_t id = kId) {
  std::string bytes = write_question(asked, id);
  bytes[2] = static_cast<char>(bytes[2] | '\x80');
  bytes[7] = static_cast<char>(records.size());
  for (const std::string& one : records) bytes += one;
  return bytes;
}

TEST(DnsMessageTest, AQuestionIsReadAsItWasWrittenInItsOwnCase) {
  for (const char* name : {"example.org", "ExAmple.oRG", "_x.a-b.example", "x\\.y.example", "."}) {
    const auto read = read_question(write_question(question(name), 7));
    ASSERT_TRUE(read) << name;
    EXPECT_EQ(read->fault, DnsCode::no_error) << name;
    EXPECT_EQ(read->name, name);
    EXPECT_EQ(read->id, 7);
    EXPECT_EQ(read->type, ns_t_a);
    EXPECT_EQ(read->most_bytes, 512u);
  }
}

TEST(DnsMessageTest, WhoAsksSaysHowMuchItTakesAtOnce) {
  std::string asked = write_question(question("example.org"), kId);
  asked[11] = 1;
  asked += std::string("\0\0\x29\x04\xd0\0\0\0\0\0\0", 11);
  const auto read = read_question(asked);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->most_bytes, 1232u);
  EXPECT_EQ(write_question(*read, kId), write_question(question("example.org"), kId))
      << "what came beside the question goes no further";
}

TEST(DnsMessageTest, WhatIsNoQuestionIsNotAnswered) {
  EXPECT_FALSE(read_question(""));
  EXPECT_FALSE(read_question("12345678901"));
  EXPECT_FALSE(read_question(write_answer(question("example.org"), DnsCode::no_error)));
}

TEST(DnsMessageTest, AQuestionThatIsNotOneOfOneNameIsToldSo) {
  const std::string fine = write_question(question("example.org"), kId);
  std::string two = fine, update = fine, chaos = fine, endless = fine;
  two[5] = 2;
  two += fine.substr(12);
  update[2] = 0x28;
  chaos[fine.size() - 1] = ns_c_chaos;
  endless.replace(12, 2, "\xc0\x0c");
  const std::pair<std::string, DnsCode> faults[] = {
      {two, DnsCode::format_error},        {update, DnsCode::not_implemented},
      {chaos, DnsCode::not_implemented},   {endless, DnsCode::format_error},
      {fine + "x", DnsCode::format_error}, {fine.substr(0, 15), DnsCode::format_error}};
  for (const auto& [message, fault] : faults) {
    const auto read = read_question(message);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->fault, fault);
    EXPECT_THAT(read->name, IsEmpty());
    EXPECT_EQ(write_answer(*read, fault).size(), 12u);
  }
}

TEST(DnsMessageTest, TheAddressesOfAnAnswerAreThoseOfAllItsNames) {
  const DnsQuestion asked = question("example.org");
  const std::string alias("\3cdn\xc0\x0c", 6);
  const auto read =
      read_answer(answer(asked, {record(ns_t_cname, alias), "\3cdn" + record(ns_t_a, "\1\2\3\4"),
                                 record(ns_t_txt, "\4text"), record(ns_t_a, "\5\6\7\10")}),
                  asked, kId);
  ASSERT_TRUE(read);
  EXPECT_FALSE(read->truncated);
  EXPECT_THAT(read->addresses, ElementsAre(0x01020304u, 0x05060708u));
  EXPECT_EQ(read_question(pass_on(read->bytes, asked)), std::nullopt);
  EXPECT_EQ(pass_on(read->bytes, asked).substr(0, 2), "\x12\x34");
}

TEST(DnsMessageTest, AnAnswerToSomethingElseIsNone) {
  const DnsQuestion asked = question("example.org");
  EXPECT_TRUE(read_answer(answer(question("EXAMPLE.org"), {}), asked, kId));
  EXPECT_FALSE(read_answer(answer(asked, {}, 99), asked, kId)) << "under another id";
  EXPECT_FALSE(read_answer(answer(question("example.net"), {}), asked, kId));
  EXPECT_FALSE(read_answer(answer(question("example.org", ns_t_mx), {}), asked, kId));
  EXPECT_FALSE(read_answer(write_question(asked, kId), asked, kId)) << "a question itself";
  EXPECT_FALSE(read_answer(answer(asked, {record(ns_t_a, "\1\2\3")}), asked, kId));
  const std::string endless("\xc0\x1d", 2);
  EXPECT_FALSE(
      read_answer(answer(asked, {endless + record(ns_t_a, "\1\2\3\4").substr(2)}), asked, kId));
  const std::string whole = answer(asked, {record(ns_t_a, "\1\2\3\4")});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(read_answer(whole.substr(0, size), asked, kId)) << size;
  }
}

TEST(DnsMessageTest, AnAnswerThatWasCutSaysSoAndNoMore) {
  const DnsQuestion asked = question("example.org");
  std::string cut = answer(asked, {record(ns_t_a, "\1\2\3\4")});
  cut[2] = static_cast<char>(cut[2] | 0x02);
  const auto read = read_answer(cut.substr(0, cut.size() - 3), asked, kId);
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->truncated);
  EXPECT_THAT(read->addresses, IsEmpty());
}

TEST(DnsMessageTest, WhatDoesNotFitIsAskedForByConnection) {
  const DnsQuestion asked = question("example.org");
  const std::string small = answer(asked, {record(ns_t_a, "\1\2\3\4")});
  EXPECT_EQ(fitted(small, asked), small);
  const std::vector<std::string> many(60, record(ns_t_a, "\1\2\3\4"));
  const std::string cut = fitted(answer(asked, many), asked);
  const auto read = read_answer(cut, asked, kId);
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->truncated);
  EXPECT_LE(cut.size(), 512u);
}

}  // namespace
}  // namespace ember

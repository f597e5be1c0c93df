// Log lines on disk: what is kept, what goes, and finding it again.
#include "control/log_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <regex>

#include "control/control_fixture.h"
#include "control/id_source.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class LogFilesTest : public testing::Test {
 protected:
  LogLine line(std::string text, std::uint64_t container = 1, const std::string& app = "docs") {
    at_ = at_ + Duration{1};
    return {at_, app, "echo", ContainerId{container}, {}, "stdout", std::move(text)};
  }
  // So many lines of `bytes` each, a write for each, numbered.
  void write_lines(LogFiles& files, int count, std::size_t bytes, std::uint64_t container = 1,
                   const std::string& app = "docs") {
    for (int i = 0; i < count; ++i) {
      std::string text = std::to_string(i) + ":";
      text.resize(bytes, 'x');
      EXPECT_THAT(files.write({line(std::move(text), container, app)}), SizeIs(0));
    }
  }
  std::vector<std::string> texts(LogQuery query, Time before = Time::never()) const {
    std::vector<std::string> found;
    for (const LogLine& line : read_logs(directory_.path(), query, before)) {
      found.push_back(line.text);
    }
    return found;
  }
  static LogQuery query(std::size_t last = 1000, const std::string& app = "docs") {
    LogQuery query;
    query.app = app;
    query.last = last;
    return query;
  }
  std::string path(const std::string& name) const { return directory_.path() + "/docs/" + name; }
  std::int64_t bytes_on_disk() const {
    std::int64_t sum = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_.path())) {
      if (entry.is_regular_file()) sum += static_cast<std::int64_t>(entry.file_size());
    }
    return sum;
  }

  TempDirectory directory_;
  Time at_{1'764'072'000'000'000};
};

TEST_F(LogFilesTest, GivesTheNewestLinesOldestFirstEachByItself) {
  LogFiles files(directory_.path(), {});
  EXPECT_THAT(files.write({line("one\ntwo"), line("three", 2), line("four\n\nsix")}), SizeIs(0));
  EXPECT_THAT(texts(query()), ElementsAre("one", "two", "three", "four", "", "six"));
  EXPECT_THAT(texts(query(4)), ElementsAre("three", "four", "", "six"));
  LogQuery of_two = query();
  of_two.container = ContainerId{2};
  EXPECT_THAT(texts(of_two), ElementsAre("three"));
  EXPECT_THAT(texts(query(2), at_), ElementsAre("two", "three"));
  EXPECT_THAT(texts(query(10, "other")), SizeIs(0));
}

TEST_F(LogFilesTest, GivesLinesBetweenTwoTimesAndBothOfThese) {
  LogFiles files(directory_.path(), {});
  const Time begin = at_ + Duration{1};  // of the first
  for (const char* text : {"one", "two", "three", "four"}) files.write({line(text)});
  LogQuery some = query();
  some.since = begin + Duration{1};
  EXPECT_THAT(texts(some), ElementsAre("two", "three", "four"));
  some.until = begin + Duration{2};
  EXPECT_THAT(texts(some), ElementsAre("two", "three"));
  some.last = 1;
  EXPECT_THAT(texts(some), ElementsAre("three"));
  some.since = at_ + Duration{1};
  EXPECT_THAT(texts(some), SizeIs(0));
}

TEST_F(LogFilesTest, CountsOnlyLinesThatHaveWhatIsSearchedFor) {
  LogFiles files(directory_.path(), {});
  files.write({line("an ERROR\nfine\nno error"), line("fine", 2), line("error: \"x\"", 2)});
  LogQuery errors = query();
  errors.search = "error";
  EXPECT_THAT(texts(errors), ElementsAre("an ERROR", "no error", "error: \"x\""));
  errors.last = 2;
  EXPECT_THAT(texts(errors), ElementsAre("no error", "error: \"x\""));
  errors.container = ContainerId{1};
  EXPECT_THAT(texts(errors), ElementsAre("an ERROR", "no error"));
  errors.search = "error: \"X\"";
  EXPECT_THAT(texts(errors), SizeIs(0));
}

TEST_F(LogFilesTest, KeepsAnyBytesAsTextThatCanBeReadBack) {
  LogFiles files(directory_.path(), {});
  const std::string any("\0\x1b[31m\xff\"call\":7,\\\r", 16);
  LogLine odd = line(any);
  odd.call = CallId{8};
  files.write({odd});
  LogQuery of_call = query();
  of_call.call = CallId{7};
  EXPECT_THAT(texts(of_call), SizeIs(0)) << "what a text says is no mark of a call";
  of_call.call = CallId{8};
  EXPECT_THAT(texts(of_call),
              ElementsAre(std::string("\0\x1b[31m\xef\xbf\xbd\"call\":7,\\\r", 18)));
}

TEST_F(LogFilesTest, FindsACallAmongManyLines) {
  LogFiles files(directory_.path(), {});
  IdSource ids;
  write_lines(files, 500, 1000);
  LogLine wanted = line("wanted\nin two");
  wanted.call = CallId{ids.next(Time{})};
  files.write({wanted});
  write_lines(files, 500, 1000);
  LogQuery of_call = query();
  of_call.call = wanted.call;
  EXPECT_THAT(texts(of_call), ElementsAre("wanted", "in two"));
}

TEST_F(LogFilesTest, BoundsWhatAContainerHasAndKeepsTheNewest) {
  LogFiles files(directory_.path(), {.container_bytes = 100'000});
  write_lines(files, 1000, 1000);
  EXPECT_LE(bytes_on_disk(), 100'000);
  const auto kept = texts(query());
  ASSERT_GT(kept.size(), 40u) << "half of it at least";
  for (std::size_t i = 0; i < kept.size(); ++i) {
    EXPECT_TRUE(kept[i].starts_with(std::to_string(1000 - kept.size() + i) + ":")) << kept[i];
  }
}

TEST_F(LogFilesTest, CutsOneLargeWriteIntoFilesToo) {
  LogFiles files(directory_.path(), {.container_bytes = 100'000});
  std::vector<LogLine> lines;
  for (int i = 0; i < 1000; ++i) lines.push_back(line(std::to_string(i) + std::string(996, 'x')));
  EXPECT_THAT(files.write(lines), SizeIs(0));
  EXPECT_LE(bytes_on_disk(), 100'000);
  EXPECT_TRUE(texts(query(1)).at(0).starts_with("999"));
}

TEST_F(LogFilesTest, BoundsAnAppAndAllAppsOldestFirst) {
  LogFiles files(directory_.path(), {.app_bytes = 50'000, .total_bytes = 120'000});
  for (std::uint64_t container = 1; container <= 10; ++container) {
    write_lines(files, 10, 1000, container);
  }
  EXPECT_LE(bytes_on_disk(), 50'000);
  EXPECT_FALSE(std::filesystem::exists(path(ContainerId{1}.text() + ".log")));
  EXPECT_TRUE(std::filesystem::exists(path(ContainerId{10}.text() + ".log")));
  for (const char* app : {"a", "b", "c"}) write_lines(files, 40, 1000, 1, app);
  EXPECT_LE(bytes_on_disk(), 120'000);
  EXPECT_FALSE(std::filesystem::exists(directory_.path() + "/docs")) << "nothing of it is left";
  EXPECT_THAT(texts(query(1000, "c")), SizeIs(40));
}

TEST_F(LogFilesTest, KnowsAgainWhatAnEarlierServerLeft) {
  {
    LogFiles files(directory_.path(), {});
    for (std::uint64_t container = 1; container <= 9; ++container) {
      write_lines(files, 10, 1000, container);
    }
  }
  LogFiles files(directory_.path(), {.app_bytes = 50'000});
  write_lines(files, 1, 1000, 10);
  EXPECT_LE(bytes_on_disk(), 50'000);
}

TEST_F(LogFilesTest, MendsTheLineThatACrashHasTorn) {
  LogFiles before(directory_.path(), {});
  before.write({line("whole"), line("torn")});
  const std::string file = path(ContainerId{1}.text() + ".log");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 5);
  LogFiles files(directory_.path(), {});
  files.write({line("after")});
  EXPECT_THAT(texts(query()), ElementsAre("whole", "after"));
}

TEST_F(LogFilesTest, ReadsWhatWasDroppedByItsOlderNameToo) {
  LogLine gap = line("… 7 lines (70 B) dropped");
  gap.dropped = {7, 70};
  const std::string text = to_text(gap);
  const std::string older =
      std::regex_replace(text, std::regex("log_(lines|bytes)_dropped"), "dropped_$1");
  EXPECT_NE(older, text);
  for (const std::string& written : {text, older}) {
    const auto read = from_text(written);
    ASSERT_TRUE(read) << written;
    EXPECT_EQ(read->dropped.lines, 7u);
    EXPECT_EQ(read->dropped.bytes, 70u);
  }
}

TEST_F(LogFilesTest, GivesBackWhatCannotBeWritten) {
  LogFiles files(directory_.path() + "/docs/no", {});
  std::filesystem::create_directory(directory_.path() + "/docs");
  std::ofstream(directory_.path() + "/docs/no") << "a file";
  const auto lost = files.write({line("one\ntwo"), line("three", 2)});
  ASSERT_EQ(lost.size(), 2u);
  EXPECT_EQ(lost[0].text, "one\ntwo");
}

// --- the whole way ---

class ControlLogs : public ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    must_deploy("docs", {function("slow")});
    started_ = must_start("docs", "slow", caller_);
    until_running();
    container_ = node.ids()[0];
  }
  void send(std::string_view body, std::uint64_t stream = 0) {
    node.only().runner->send(FrameType::log, body, stream);
  }
  // A server reads what has been sent.
  void settle() {
    for (int i = 0; i < 20; ++i) turn();
  }
  JsonValue shown() { return json(control->containers_json())["containers"][0]; }
  static std::string gap(std::uint64_t lines, std::uint64_t bytes) {
    std::string body(1, '\0');
    body.append(reinterpret_cast<const char*>(&lines), sizeof lines);
    return body.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
  }

  Caller caller_;
  CallId started_;
  ContainerId container_;
};

TEST_F(ControlLogs, SayWhereLinesWereDroppedAndCountThem) {
  send("\1before\n", started_.value);
  send(gap(123'456, 1'200'000'000), started_.value);
  send("\1after\n", started_.value);
  settle();
  LogQuery of_call = logs_of("docs");
  of_call.call = started_;
  const auto lines = logs(of_call);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1].text, "… 123,456 lines (1.2 GB) dropped");
  EXPECT_EQ(lines[1].stream, "system");
  EXPECT_EQ(lines[1].dropped.lines, 123'456u);
  EXPECT_EQ(lines[2].text, "after");
  EXPECT_EQ(shown()["log_lines_dropped"], 123'456);
  EXPECT_EQ(shown()["log_bytes_dropped"], 1'200'000'000);
  EXPECT_EQ(control->metrics().at(0).logs_dropped.lines, 123'456u);
}

TEST_F(ControlLogs, BelieveNoGapThatIsNone) {
  for (const std::string& odd : {std::string(1, '\0'), gap(0, 0), gap(1, 1) + "x"}) send(odd);
  send(gap(~0ull, ~0ull));
  send(gap(~0ull, ~0ull));
  settle();
  EXPECT_EQ(logs(logs_of("docs")).size(), 2u);
  EXPECT_EQ(shown()["log_lines_dropped"], 1ll << 49);
}

TEST_F(ControlLogs, FindACallsLinesInFilesOnceMemoryHasForgottenThem) {
  send("\1early\n", started_.value);
  const std::string text = "\1" + std::string(30'000, 'x') + "\n";
  for (int i = 0; i < 160; ++i) {
    send(text);
    turn();
  }
  settle();
  LogQuery of_call = logs_of("docs");
  of_call.call = started_;
  const auto lines = logs(of_call);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].text, "early");
  LogQuery all = logs_of("docs");
  all.last = 1000;
  EXPECT_EQ(logs(all).size(), 161u) << "each once, from both";
}

TEST_F(ControlLogs, MakeAContainerWaitThatSendsMoreThanItMay) {
  const std::string text = "\1" + std::string(60'000, 'x') + "\n";
  struct Counter final : LogFollower {
    void on_line(const LogLine&) override { ++lines; }
    std::size_t lines = 0;
  };
  const auto counter = std::make_shared<Counter>();
  const auto follow = control->follow_logs(logs_of("docs"), counter);
  constexpr std::size_t kBurst = (16 << 20) / 60'066 + 1;
  for (std::size_t i = 0; i < kBurst + 2; ++i) {
    send(text);
    turn();
  }
  settle();
  EXPECT_EQ(counter->lines, kBurst) << "the rest stays in the socket";
  node.only().runner->send(FrameType::result, "1", started_.value, 1);
  settle();
  EXPECT_FALSE(caller_.done()) << "its own answer waits behind its logs";
  pass(Duration::seconds(10));
  until([&] { return caller_.done(); });
  EXPECT_EQ(counter->lines, kBurst + 2);
}

}  // namespace
}  // namespace ember

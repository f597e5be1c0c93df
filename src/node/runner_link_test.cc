#include "node/runner_link.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <thread>
#include <vector>

namespace ember {
namespace {

struct Received {
  FrameHeader header;
  std::string body;
};

class Recorder : public RunnerLinkObserver {
 public:
  void on_frame(const FrameHeader& header, std::string& body) override {
    frames.push_back({header, std::move(body)});
    if (then) then();
  }
  void on_closed(std::string_view why) override {
    closed = why;
    ++closes;
  }

  std::vector<Received> frames;
  std::string closed;
  int closes = 0;
  std::function<void()> then;
};

// Who takes of a budget and cares for no room.
class Nobody final : public BodyBudget::Waiter {
 public:
  void on_room() override {}
};

class RunnerLinkTest : public testing::Test {
 protected:
  RunnerLinkTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    link_ = make_runner_link(loop_, UniqueFd(ends[0]), budget_);
    runner_ = UniqueFd(ends[1]);
    link_->start(&recorder_);
  }

  // Has the runner begin a result of so many bytes, of which it sends none.
  void runner_begins(const UniqueFd& runner, std::size_t size) {
    const auto head = encode({.length = static_cast<std::uint32_t>(size),
                              .type = FrameType::result,
                              .format = 0,
                              .attempt = 0,
                              .stream = 0});
    ASSERT_EQ(::send(runner.get(), head.data(), head.size(), MSG_NOSIGNAL), 16);
  }

  void run_until(const std::function<bool()>& done) {
    loop_.restart();
    while (!done()) ASSERT_EQ(loop_.run_one_for(std::chrono::seconds(10)), 1u) << "nothing happens";
  }
  void drain() {
    loop_.restart();
    loop_.poll();
  }
  void runner_writes(const std::string& bytes) {
    ASSERT_EQ(::send(runner_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  static std::string frame(FrameType type, std::string_view body, std::uint64_t stream = 0,
                           std::uint8_t format = 0) {
    const auto head = encode({.length = static_cast<std::uint32_t>(body.size()),
                              .type = type,
                              .format = format,
                              .attempt = 3,
                              .stream = stream});
    return std::string(head.data(), head.size()).append(body);
  }
  std::string runner_reads(std::size_t size, UniqueFd* file = nullptr) {
    std::string bytes(size, '\0');
    for (std::size_t done = 0; done < size;) {
      iovec vector{bytes.data() + done, size - done};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
      msghdr message{};
      message.msg_iov = &vector;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof(control);
      const ssize_t got = ::recvmsg(runner_.get(), &message, MSG_CMSG_CLOEXEC);
      if (got <= 0) return bytes.substr(0, done);
      if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr && file != nullptr) {
        int descriptor;
        std::memcpy(&descriptor, CMSG_DATA(header), sizeof(int));
        *file = UniqueFd(descriptor);
      }
      done += static_cast<std::size_t>(got);
    }
    return bytes;
  }
  static UniqueFd file_with(std::string_view text) {
    UniqueFd file(::memfd_create("body", MFD_CLOEXEC));
    EXPECT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    return file;
  }

  boost::asio::io_context loop_{1};
  Recorder recorder_;
  BodyBudget budget_{16 << 20, Duration::milliseconds(200)};
  std::unique_ptr<RunnerLink> link_;
  UniqueFd runner_;
};

TEST(Frame, HeaderSurvivesTheWireAndRefusesWhatIsNotOfTheProtocol) {
  const FrameHeader header{.length = 0x01020304,
                           .type = FrameType::result,
                           .format = 0x81,
                           .attempt = 0xABCD,
                           .stream = 0x1122334455667788};
  auto bytes = encode(header);
  EXPECT_EQ(bytes[0], 4);
  const auto back = decode(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->length, header.length);
  EXPECT_EQ(back->type, header.type);
  EXPECT_EQ(back->format, header.format);
  EXPECT_EQ(back->attempt, header.attempt);
  EXPECT_EQ(back->stream, header.stream);
  for (const char unknown : {'\0', '\x06', '\x0b', '\x0c', '\x13', '\x16'}) {
    bytes[4] = unknown;
    EXPECT_FALSE(decode(bytes)) << int{unknown};
  }
  EXPECT_FALSE(decode(encode({.length = kMaxFrameBody + 1, .type = FrameType::result})));
  EXPECT_TRUE(decode(encode({.length = kMaxFrameBody, .type = FrameType::result})));
  EXPECT_FALSE(decode(encode({.length = kMaxErrorBody + 1, .type = FrameType::failed})));
  EXPECT_FALSE(decode(encode({.length = kMaxNoticeBody + 1, .type = FrameType::hello})));
  EXPECT_FALSE(decode(encode({.type = FrameType::error, .format = kFrameBodyInFile})));
}

TEST_F(RunnerLinkTest, FramesOfOneTurnLeaveInOneWrite) {
  for (std::uint64_t i = 1; i <= 40; ++i) {
    link_->send({.type = FrameType::input, .format = 1, .attempt = 3, .stream = i}, "12345678",
                "{}");
  }
  EXPECT_EQ(link_->bytes_queued(), 40u * 26);
  drain();
  EXPECT_EQ(link_->bytes_queued(), 0u);
  char bytes[4096];
  EXPECT_EQ(::recv(runner_.get(), bytes, sizeof(bytes), 0), 40 * 26);
  EXPECT_EQ(std::string(bytes, 26), frame(FrameType::input, "12345678{}", 1, 1));
}

TEST_F(RunnerLinkTest, ManySmallFramesOfOneReadArriveInOrder) {
  std::string bytes;
  for (std::uint64_t i = 0; i < 1000; ++i) bytes += frame(FrameType::log, std::to_string(i), i);
  runner_writes(bytes.substr(0, 1001));
  drain();
  runner_writes(bytes.substr(1001));
  run_until([&] { return recorder_.frames.size() == 1000; });
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(recorder_.frames[i].header.stream, i);
    EXPECT_EQ(recorder_.frames[i].body, std::to_string(i));
  }
}

TEST_F(RunnerLinkTest, BodiesLargerThanEveryBufferTravelBothWays) {
  std::string body(9 << 20, '\0');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 2654435761u >> 13);
  std::string echoed;
  std::thread runner([&] {
    echoed = runner_reads(kFrameHeaderSize + 8 + body.size());
    const std::string reply = frame(FrameType::log, "before") + frame(FrameType::result, body, 7) +
                              frame(FrameType::log, "after");
    for (std::size_t done = 0; done < reply.size();) {
      const ssize_t sent = ::send(runner_.get(), reply.data() + done, reply.size() - done, 0);
      if (sent <= 0) return;
      done += static_cast<std::size_t>(sent);
    }
  });
  link_->send({.type = FrameType::input, .stream = 7}, "12345678", body);
  run_until([&] { return recorder_.frames.size() == 3; });
  runner.join();
  EXPECT_TRUE(echoed.substr(kFrameHeaderSize) == "12345678" + body);
  EXPECT_TRUE(recorder_.frames[1].body == body);
  EXPECT_EQ(recorder_.frames[1].header.stream, 7u);
  EXPECT_EQ(recorder_.frames[2].body, "after");
}

TEST_F(RunnerLinkTest, AFileTravelsWithItsOwnFrame) {
  link_->send({.type = FrameType::ping}, "", "");
  link_->send({.type = FrameType::input, .format = 1 | kFrameBodyInFile, .stream = 5}, "12345678",
              "", file_with("from serve"));
  link_->send({.type = FrameType::ping}, "", "");
  drain();
  UniqueFd none, file;
  EXPECT_EQ(runner_reads(kFrameHeaderSize, &none),
            frame(FrameType::ping, "").replace(6, 2, 2, '\0'));
  EXPECT_FALSE(none);
  runner_reads(kFrameHeaderSize + 8, &file);
  ASSERT_TRUE(file);
  char text[16];
  EXPECT_EQ(std::string(text, ::pread(file.get(), text, sizeof(text), 0)), "from serve");
}

TEST_F(RunnerLinkTest, ABodyInAFileReachesTheObserverWhole) {
  const std::string head = frame(FrameType::result, "", 9, 2 | kFrameBodyInFile);
  const UniqueFd file = file_with("from the runner");
  iovec vector{const_cast<char*>(head.data()), head.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  const int descriptor = file.get();
  std::memcpy(CMSG_DATA(rights), &descriptor, sizeof(int));
  ASSERT_EQ(::sendmsg(runner_.get(), &message, 0), static_cast<ssize_t>(head.size()));
  run_until([&] { return !recorder_.frames.empty(); });
  EXPECT_EQ(recorder_.frames[0].body, "from the runner");
  EXPECT_EQ(recorder_.frames[0].header.format, 2);
}

TEST_F(RunnerLinkTest, AFrameThatPromisesAFileAndBringsNoneClosesTheConnection) {
  runner_writes(frame(FrameType::result, "", 9, 2 | kFrameBodyInFile));
  run_until([&] { return recorder_.closes > 0; });
  EXPECT_THAT(recorder_.closed, testing::HasSubstr("without the file"));
}

TEST_F(RunnerLinkTest, WhatIsNotAFrameClosesTheConnection) {
  runner_writes(frame(FrameType::pong, "") + std::string(64, '\xff'));
  run_until([&] { return recorder_.closes > 0; });
  EXPECT_EQ(recorder_.frames.size(), 1u);
  EXPECT_EQ(runner_reads(1), "");
  link_->send({.type = FrameType::ping}, "", "");
  drain();
  EXPECT_EQ(recorder_.closes, 1);
}

TEST_F(RunnerLinkTest, TheLastFramesOfARunnerThatDiedAreReadThoughWritingFails) {
  runner_writes(frame(FrameType::failed, "why"));
  runner_.reset();
  link_->send({.type = FrameType::stop}, "", "");
  run_until([&] { return recorder_.closes > 0; });
  ASSERT_EQ(recorder_.frames.size(), 1u);
  EXPECT_EQ(recorder_.frames[0].body, "why");
}

TEST_F(RunnerLinkTest, TheLinkMayBeDestroyedWhileItDelivers) {
  runner_writes(frame(FrameType::log, "one") + frame(FrameType::log, "two"));
  recorder_.then = [&] { link_.reset(); };
  run_until([&] { return !recorder_.frames.empty(); });
  drain();
  EXPECT_EQ(recorder_.frames.size(), 1u);
  EXPECT_EQ(recorder_.closes, 0);
}

TEST_F(RunnerLinkTest, ReadsNothingWhilePausedAndLosesNothing) {
  recorder_.then = [this] { link_->pause(); };
  runner_writes(frame(FrameType::log, "\1one") + frame(FrameType::ping, ""));
  drain();
  EXPECT_EQ(recorder_.frames.size(), 2u) << "what has been read is told";
  runner_writes(frame(FrameType::ping, ""));
  runner_.reset();
  drain();
  EXPECT_EQ(recorder_.frames.size(), 2u);
  EXPECT_EQ(recorder_.closes, 0);
  recorder_.then = {};
  link_->resume();
  run_until([&] { return recorder_.closes == 1; });
  EXPECT_EQ(recorder_.frames.size(), 3u);
}

TEST_F(RunnerLinkTest, LetsOthersHaveTheirTurnWhenLogsFlood) {
  const std::string text = frame(FrameType::log, std::string(8000, 'x'));
  for (int i = 0; i < 20; ++i) runner_writes(text);
  loop_.run_one();
  EXPECT_LT(recorder_.frames.size(), 12u);
  run_until([&] { return recorder_.frames.size() == 20; });
}

TEST_F(RunnerLinkTest, RefusesLogsThatAreTooLargeOrInFiles) {
  const auto head = encode(
      {.length = kMaxLogBody + 1, .type = FrameType::log, .format = 0, .attempt = 0, .stream = 0});
  runner_writes(std::string(head.data(), head.size()));
  run_until([&] { return recorder_.closes == 1; });
  EXPECT_EQ(recorder_.closed, "the runner sent a frame that is not of the protocol");
}

TEST_F(RunnerLinkTest, EndsWhoBeginsALargeBodyAndDoesNotGoOn) {
  runner_begins(runner_, 10 << 20);
  run_until([&] { return recorder_.closes == 1; });
  EXPECT_EQ(recorder_.closed, "the runner did not send the rest of a frame");
}

TEST_F(RunnerLinkTest, LargeBodiesShareABudgetAndComeOneAfterTheOther) {
  runner_begins(runner_, 10 << 20);
  drain();
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd other_runner(ends[1]);
  Recorder other;
  const auto other_link = make_runner_link(loop_, UniqueFd(ends[0]), budget_);
  other_link->start(&other);
  std::thread writer([&] {
    const std::string bytes = frame(FrameType::result, std::string(10 << 20, 'b'));
    for (std::size_t done = 0; done < bytes.size();) {
      const auto sent = ::send(other_runner.get(), bytes.data() + done, bytes.size() - done, 0);
      ASSERT_GT(sent, 0);
      done += static_cast<std::size_t>(sent);
    }
  });
  run_until([&] { return other.frames.size() == 1; });
  writer.join();
  EXPECT_EQ(recorder_.closes, 1);  // the first did not go on, so the second had its turn
  EXPECT_EQ(other.frames[0].body.size(), 10u << 20);
  EXPECT_EQ(other.closes, 0);
}

TEST_F(RunnerLinkTest, WhoLeavesWhileItWaitsForTheBudgetHoldsNoneOfIt) {
  runner_begins(runner_, 10 << 20);
  drain();
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  Recorder other;
  auto other_link = make_runner_link(loop_, UniqueFd(ends[0]), budget_);
  other_link->start(&other);
  const UniqueFd other_runner(ends[1]);
  runner_begins(other_runner, 10 << 20);
  drain();
  other_link.reset();
  run_until([&] { return recorder_.closes == 1; });
  Nobody nobody;
  EXPECT_TRUE(budget_.take(16 << 20, nobody));
}

TEST_F(RunnerLinkTest, APausedOneTakesNothingOfTheBudget) {
  Nobody other;
  recorder_.then = [&] { link_->pause(); };
  const auto head = encode(
      {.length = 10 << 20, .type = FrameType::result, .format = 0, .attempt = 0, .stream = 0});
  runner_writes(frame(FrameType::ping, "") + std::string(head.data(), head.size()));
  run_until([&] { return recorder_.frames.size() == 1; });
  ASSERT_TRUE(budget_.take(16 << 20, other));
  budget_.give_back(16 << 20);
  link_->resume();
  EXPECT_FALSE(budget_.take(16 << 20, other));
  budget_.withdraw(other);
  run_until([&] { return recorder_.closes == 1; });
}

TEST(Credit, ComesBackAsItWasAndIsNoneOfAnotherSize) {
  const auto credit = decode_credit(encode_credit({3, 0x01020304}));
  ASSERT_TRUE(credit);
  EXPECT_EQ(credit->items, 3u);
  EXPECT_EQ(credit->bytes, 0x01020304u);
  EXPECT_FALSE(decode_credit(""));
  EXPECT_FALSE(decode_credit(std::string(9, 'x')));
}

TEST(Batch, SaysHowManyInputsFollow) {
  EXPECT_EQ(encode_batch(0x01020304), (std::string{4, 3, 2, 1}));
  auto head = encode({.length = kBatchSize, .type = FrameType::batch});
  EXPECT_TRUE(decode(head));
}

}  // namespace
}  // namespace ember

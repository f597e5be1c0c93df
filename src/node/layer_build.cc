#include "node/layer_build.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace ember {
namespace {

constexpr std::size_t kLastLines = 20;
constexpr std::size_t kMaxLine = 4 << 10;
constexpr std::size_t kMaxKept = 1 << 20;
constexpr off_t kMaxLog = 16 << 20;
constexpr std::chrono::hours kCommandLimit{2};

}  // namespace

LayerBuild::LayerBuild(boost::asio::io_context& loop, ProcessTable& processes, std::string log_path,
                       Listener listener)
    : loop_(loop),
      processes_(processes),
      listener_(std::move(listener)),
      log_(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)),
      output_(loop),
      limit_(loop) {}

LayerBuild::~LayerBuild() {
  if (running_ <= 0) return;
  processes_.signal(running_, SIGKILL);
  processes_.forget(running_);
}

void LayerBuild::say(const std::string& line) {
  if (log_ && ::lseek(log_.get(), 0, SEEK_END) < kMaxLog) {
    const std::string whole = line + "\n";
    (void)!::write(log_.get(), whole.data(), whole.size());
  }
  listener_.on_line(line);
}

void LayerBuild::run(LayerRecipe recipe) {
  recipe_ = std::move(recipe);
  at_ = 0;
  if (given_up_) return end(*given_up_);
  next();
}

void LayerBuild::next() {
  while (at_ < recipe_.commands.size() && recipe_.commands[at_].needed &&
         !recipe_.commands[at_].needed()) {
    ++at_;
  }
  if (at_ == recipe_.commands.size()) return end(*recipe_.facts);
  if (auto started = start(recipe_.commands[at_]); !started.ok()) end(std::move(started).error());
}

Result<> LayerBuild::start(const RecipeCommand& command) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return {ErrorCode::unavailable, std::string("pipe: ") + std::strerror(errno)};
  }
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  boost::system::error_code ignored;
  output_.close(ignored);
  output_.assign(read_end.release());
  kept_.clear();
  auto made = command.make(write_end.get());
  if (!made.ok()) return std::move(made).error();
  auto pid = processes_.run(*made, [this](ProcessEnd end) { command_ended(end); });
  if (!pid.ok()) return std::move(pid).error();
  running_ = *pid;
  limit_.expires_after(kCommandLimit);
  limit_.async_wait([this, alive = std::weak_ptr<int>(alive_)](auto error) {
    if (error || alive.expired()) return;
    give_up({ErrorCode::timed_out, "it took more than 2 hours"});
  });
  follow_output();
  return Ok{};
}

void LayerBuild::give_up(Error why) {
  if (!given_up_) given_up_ = std::move(why);
  if (running_ > 0) processes_.signal(running_, SIGKILL);
}

void LayerBuild::follow_output() {
  output_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this, alive = std::weak_ptr<int>(alive_)](auto error) {
                       if (error || alive.expired()) return;
                       if (drain()) follow_output();
                     });
}

bool LayerBuild::drain() {
  char buffer[16 << 10];
  // So much at a time: others on this loop have their turn.
  for (int turn = 0; turn < 16; ++turn) {
    const ssize_t got = ::read(output_.native_handle(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got < 0 && errno == EAGAIN;
    take({buffer, static_cast<std::size_t>(got)});
  }
  return true;
}

// What was written before the end. A process that lives on and writes is not waited for.
void LayerBuild::drain_all() {
  pollfd ready{.fd = output_.native_handle(), .events = POLLIN, .revents = 0};
  for (int turn = 0; turn < 64 && ::poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN) != 0;
       ++turn) {
    if (!drain()) return;
  }
}

void LayerBuild::take(std::string_view text) {
  if (recipe_.commands[at_].output == RecipeCommand::Output::kept) {
    kept_.append(text.substr(0, kMaxKept - std::min(kMaxKept, kept_.size())));
    return;
  }
  for (const char c : text) {
    if (c == '\n' || partial_.size() >= kMaxLine) end_line();
    if (c != '\n' && c != '\r') partial_ += c;
  }
}

void LayerBuild::end_line() {
  if (partial_.empty()) return;
  last_lines_.push_back(partial_);
  if (last_lines_.size() > kLastLines) last_lines_.pop_front();
  say(std::exchange(partial_, {}));
}

void LayerBuild::command_ended(ProcessEnd ended) {
  running_ = 0;
  limit_.cancel();
  drain_all();
  end_line();
  if (given_up_) return end(*given_up_);
  const RecipeCommand& command = recipe_.commands[at_];
  if (command.after) {
    if (auto fine = command.after(ended, kept_); !fine.ok()) return end(std::move(fine).error());
  } else if (ended.exit_status != 0) {
    return end(Error{ErrorCode::invalid_argument, ""});
  }
  ++at_;
  next();
}

void LayerBuild::end(Result<LayerFacts> result) {
  boost::system::error_code ignored;
  output_.close(ignored);
  boost::asio::post(loop_, [this, alive = std::weak_ptr<int>(alive_), result = std::move(result)] {
    if (alive.expired()) return;
    const auto on_end = std::move(listener_.on_end);  // which may destroy this build
    on_end(result);
  });
}

}  // namespace ember

#include "node/slirp_networks.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <sstream>

#include "node/container_files.h"
#include "node/egress_counter.h"
#include "node/network_namespace.h"

namespace ember {
namespace {

// Where the child keeps its descriptors: of the namespace, of the pipe it reports on, and of the
// namespace's counters, which can be read through it for as long as the network lives, whoever else
// has died.
constexpr int kNamespaceFd = 60;
constexpr int kReadyFd = 61;
constexpr int kCountersFd = 62;
constexpr int kRoundsOfWaiting = 1000;  // a millisecond each
constexpr const char* kInterface = "tap0";
constexpr std::uint32_t kGateway = 0x0a00'0202;  // 10.0.2.2, slirp4netns's own choice

std::string path_of_descriptor(pid_t pid, int descriptor) {
  return "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(descriptor);
}

// Makes the namespace and comes back: slirp4netns joins it by itself, and talks to the outside from
// here.
bool make_namespace(const std::vector<Ipv4Network>& closed) {
  const UniqueFd own = open_own_network_namespace();
  if (!own || !enter_new_network_namespace() || !close_networks(closed)) return false;
  const UniqueFd made = open_own_network_namespace();
  const UniqueFd counters(::open("/proc/self/net/dev", O_RDONLY | O_CLOEXEC));
  return made && ::dup2(made.get(), kNamespaceFd) == kNamespaceFd && counters &&
         ::dup2(counters.get(), kCountersFd) == kCountersFd &&
         ::setns(own.get(), CLONE_NEWNET) == 0;
}

// The record of a network: its process, as ProcessIdentity has it.
std::string record_of(pid_t pid) {
  return std::to_string(pid) + " " + std::to_string(process_start_ticks(pid));
}

// 0: it has ended.
pid_t process_of(std::string_view record) {
  std::istringstream fields{std::string(record)};
  ProcessIdentity process;
  fields >> process.pid >> process.start_ticks;
  const bool lives = fields && process.pid > 0 && process.start_ticks > 0 &&
                     process_start_ticks(process.pid) == process.start_ticks;
  return lives ? process.pid : 0;
}

class SlirpNetworks final : public NetworkMaker {
 public:
  SlirpNetworks(boost::asio::io_context& loop, ProcessTable& processes, SlirpSetup setup)
      : loop_(loop), processes_(processes), setup_(std::move(setup)) {}

  // Waits for the ends of those that were ended, where they are our children.
  ~SlirpNetworks() override {
    for (const auto& [pid, making] : making_) kill(pid);
    for (int round = 0; round < kRoundsOfWaiting && !collect_ended(); ++round) ::usleep(1000);
  }

  bool knows(std::string_view record) const override {
    return !record.empty() && record.front() >= '0' && record.front() <= '9';
  }

  void make(std::function<void(Result<Network>)> done) override {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
      return done({ErrorCode::unavailable, std::strerror(errno)});
    }
    UniqueFd read_end(ends[0]), write_end(ends[1]);
    auto pid = processes_.run(command(write_end), [](ProcessEnd) {});
    if (!pid.ok()) return done(std::move(pid).error());
    making_[*pid] = std::make_unique<Making>(
        Making{boost::asio::posix::stream_descriptor(loop_, read_end.release()), std::move(done)});
    wait_until_ready(*pid);
  }

  bool lives(const std::string& record) const override { return process_of(record) > 0; }

  std::optional<WayOut> way_out(const std::string& record) const override {
    const pid_t pid = process_of(record);
    if (pid <= 0) return std::nullopt;
    return WayOut{path_of_descriptor(pid, kNamespaceFd), kInterface, kGateway};
  }

  bool watch(const std::string& record, std::function<void()> on_end) override {
    const pid_t pid = process_of(record);
    return pid > 0 &&
           processes_.watch(pid, [on_end = std::move(on_end)](ProcessEnd) { on_end(); }).ok();
  }

  void forget(const std::string& record) override {
    if (const pid_t pid = process_of(record); pid > 0) processes_.forget(pid);
  }

  std::optional<std::int64_t> egress_bytes(const std::string& record) const override {
    const pid_t pid = process_of(record);
    if (pid <= 0) return std::nullopt;
    const auto text = read_file(path_of_descriptor(pid, kCountersFd));
    if (!text) return std::nullopt;
    return transmitted_bytes(*text);
  }

  void end(const std::string& record) override {
    const pid_t pid = process_of(record);
    if (pid > 0) kill(pid);
  }

  void end_all_but(const std::set<std::string>& used) override {
    for (const pid_t pid : processes_with_env(setup_.mark)) {
      if (!used.contains(record_of(pid))) ::kill(pid, SIGKILL);
    }
  }

  void end_all() override { end_marked_processes(setup_.mark); }

 private:
  struct Making {
    boost::asio::posix::stream_descriptor ready;
    std::function<void(Result<Network>)> done;
  };

  void kill(pid_t pid) {
    collect_ended();
    ::kill(pid, SIGKILL);
    ended_.push_back(pid);
  }

  // Whether there is none left that could still be waited for.
  bool collect_ended() {
    std::erase_if(ended_, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; });
    return ended_.empty();
  }

  Command command(const UniqueFd& write_end) const {
    Command command;
    command.argv = {setup_.program,
                    "--configure",
                    "--mtu=65520",
                    "--disable-host-loopback",
                    "--enable-sandbox",
                    "--enable-seccomp",
                    "--ready-fd=" + std::to_string(kReadyFd),
                    "--netns-type=path",
                    "/proc/self/fd/" + std::to_string(kNamespaceFd),
                    kInterface};
    command.env = {setup_.mark, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    command.steps = {{"make a network namespace",
                      [closed = closed_networks(own_addresses(), setup_.allowed)] {
                        return make_namespace(closed);
                      }},
                     {"pass the pipe on",
                      [&write_end] { return ::dup2(write_end.get(), kReadyFd) == kReadyFd; }}};
    return command;
  }

  void wait_until_ready(pid_t pid) {
    making_[pid]->ready.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                   [this, pid](auto error) {
                                     if (!error) ready(pid);
                                   });
  }

  void ready(pid_t pid) {
    const auto making = std::move(making_[pid]);
    making_.erase(pid);
    char byte;
    if (::read(making->ready.native_handle(), &byte, 1) == 1) {
      return making->done(Network{path_of_descriptor(pid, kNamespaceFd), record_of(pid)});
    }
    kill(pid);
    making->done({ErrorCode::unavailable, "slirp4netns ended before the network was ready"});
  }

  boost::asio::io_context& loop_;
  ProcessTable& processes_;
  const SlirpSetup setup_;
  std::map<pid_t, std::unique_ptr<Making>> making_;
  std::vector<pid_t> ended_;
};

}  // namespace

std::unique_ptr<NetworkMaker> make_slirp_networks(boost::asio::io_context& loop,
                                                  ProcessTable& processes, SlirpSetup setup) {
  return std::make_unique<SlirpNetworks>(loop, processes, std::move(setup));
}

}  // namespace ember

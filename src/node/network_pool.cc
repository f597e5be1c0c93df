#include "node/network_pool.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <vector>

#include "node/container_files.h"
#include "node/egress_counter.h"

namespace ember {
namespace {

// Where the child keeps its descriptors: of the namespace, of the pipe it reports on, and of the
// namespace's counters, which can be read through it for as long as the network lives, whoever else
// has died.
constexpr int kNamespaceFd = 60;
constexpr int kReadyFd = 61;
constexpr int kCountersFd = 62;

std::string path_of_descriptor(pid_t pid, int descriptor) {
  return "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(descriptor);
}

// IPv6 has no way out here; the kernel would look for one again and again, and be metered for it.
void silence_ipv6() {
  const UniqueFd file(::open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC));
  [[maybe_unused]] const ssize_t ignored = ::write(file.get(), "1", 1);
}

// Makes the namespace and comes back: slirp4netns joins it by itself, and talks to the outside from
// here.
bool make_namespace(const std::vector<Ipv4Network>& closed) {
  const UniqueFd own(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own || ::unshare(CLONE_NEWNET) != 0) return false;
  silence_ipv6();
  if (!close_networks(closed)) return false;
  const UniqueFd made(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  const UniqueFd counters(::open("/proc/self/net/dev", O_RDONLY | O_CLOEXEC));
  return made && ::dup2(made.get(), kNamespaceFd) == kNamespaceFd && counters &&
         ::dup2(counters.get(), kCountersFd) == kCountersFd &&
         ::setns(own.get(), CLONE_NEWNET) == 0;
}

}  // namespace

struct NetworkPool::Making {
  boost::asio::posix::stream_descriptor ready;
};

NetworkPool::NetworkPool(boost::asio::io_context& loop, ProcessTable& processes, Options options)
    : loop_(loop), processes_(processes), options_(std::move(options)) {}

NetworkPool::~NetworkPool() {
  std::vector<pid_t> spare;
  for (const Network& network : ready_) spare.push_back(network.pid);
  for (const auto& [pid, making] : making_) spare.push_back(pid);
  for (const pid_t pid : spare) end(pid);
  for (const pid_t pid : spare) ::waitpid(pid, nullptr, 0);
}

void NetworkPool::fill() {
  while (ready_.size() + making_.size() < options_.spare + waiting_.size()) {
    const std::size_t before = making_.size();
    make();
    if (making_.size() == before) return;  // it cannot be made; who waits has been told
  }
}

void NetworkPool::take(std::function<void(Result<Network>)> done) {
  while (!ready_.empty() && !processes_.signal(ready_.front().pid, 0)) ready_.pop_front();
  if (ready_.empty()) {
    waiting_.push_back(std::move(done));
    return fill();
  }
  Network network = std::move(ready_.front());
  ready_.pop_front();
  processes_.forget(network.pid);
  done(std::move(network));
  fill();
}

std::optional<std::int64_t> NetworkPool::egress_bytes(pid_t pid) {
  const auto text = read_file(path_of_descriptor(pid, kCountersFd));
  if (!text) return std::nullopt;
  return transmitted_bytes(*text);
}

void NetworkPool::end(pid_t pid) {
  if (pid > 0) ::kill(pid, SIGKILL);
}

void NetworkPool::end_all() { end_marked_processes(options_.mark); }

void NetworkPool::make() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return failed(0, std::strerror(errno));
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  Command command;
  command.argv = {options_.program,
                  "--configure",
                  "--mtu=65520",
                  "--disable-host-loopback",
                  "--enable-sandbox",
                  "--enable-seccomp",
                  "--ready-fd=" + std::to_string(kReadyFd),
                  "--netns-type=path",
                  "/proc/self/fd/" + std::to_string(kNamespaceFd),
                  "tap0"};
  command.env = {options_.mark, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  command.steps = {
      {"make a network namespace",
       [closed = closed_networks(own_addresses(), options_.allowed)] {
         return make_namespace(closed);
       }},
      {"pass the pipe on", [&write_end] { return ::dup2(write_end.get(), kReadyFd) == kReadyFd; }}};
  auto pid = processes_.run(command, [](ProcessEnd) {});
  if (!pid.ok()) return failed(0, pid.error().message);
  making_[*pid] = std::make_unique<Making>(
      Making{boost::asio::posix::stream_descriptor(loop_, read_end.release())});
  wait_until_ready(*pid);
}

void NetworkPool::wait_until_ready(pid_t pid) {
  making_[pid]->ready.async_wait(
      boost::asio::posix::stream_descriptor::wait_read, [this, pid](auto error) {
        if (error) return;
        char byte;
        const ssize_t got = ::read(making_[pid]->ready.native_handle(), &byte, 1);
        if (got == 1) return made(pid);
        failed(pid, "slirp4netns ended before the network was ready");
      });
}

void NetworkPool::made(pid_t pid) {
  making_.erase(pid);
  Network network{pid, path_of_descriptor(pid, kNamespaceFd)};
  if (waiting_.empty()) {
    ready_.push_back(std::move(network));
    return;
  }
  const auto done = std::move(waiting_.front());
  waiting_.pop_front();
  processes_.forget(pid);
  done(std::move(network));
}

void NetworkPool::failed(pid_t pid, std::string why) {
  making_.erase(pid);
  end(pid);
  const auto waiting = std::exchange(waiting_, {});
  for (const auto& done : waiting) done(Error{ErrorCode::unavailable, "network: " + why});
}

}  // namespace ember

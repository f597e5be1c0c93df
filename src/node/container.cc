#include "node/container.h"

#include <signal.h>

#include <spdlog/spdlog.h>
#include <algorithm>
#include <chrono>
#include <utility>

#include "node/unix_socket.h"

namespace ember {
namespace {

constexpr std::size_t kLastOutputBytes = 8 << 10;
// What runs may come to its end without the network.
constexpr Duration kGraceWithoutNetwork = Duration::seconds(30);
constexpr std::int64_t kMaxGraceUs = 3'600'000'000;
// Then others have their turn: a container may connect faster than it is looked at.
constexpr int kConnectionsPerTurn = 16;

}  // namespace

NodeContainer::NodeContainer(const ContainerTools& tools, Isolation& isolation,
                             ContainerMeta record, ContainerFiles files)
    : tools_(tools),
      isolation_(isolation),
      record_(std::move(record)),
      files_(std::move(files)),
      listener_(tools.loop),
      kill_timer_(tools.loop) {}

// --- beginning --------------------------------------------------------------------------------

void NodeContainer::launch(LaunchPlan plan, UniqueFd source) {
  if (auto listening = listen(); !listening.ok()) {
    return launched(std::move(listening).error());
  }
  isolation_.launch(std::move(plan), std::move(source),
                    [this, alive = std::weak_ptr<int>(alive_)](Result<pid_t> pid) {
                      if (!alive.expired()) launched(std::move(pid));
                    });
}

void NodeContainer::launched(Result<pid_t> pid) {
  if (!pid.ok()) return refuse(pid.error().message);
  pid_ = *pid;
  output_ = files_.hold_output();
  const ProcessIdentity runner{pid_, process_start_ticks(pid_)};
  // A runner that has ended already is a zombie of ours: it can be watched, and ends at once.
  if (auto written = files_.write_runner(runner); !written.ok()) {
    isolation_.kill_all(record_, pid_);
    isolation_.clean_up(record_, pid_);
    return refuse(written.error().message);
  }
  tools_.owner.on_container_started(record_.container, record_.started);
  // It ran, if only until it was collected among the orphans before its start was told here.
  if (!follow()) return ended({}, tools_.now());
  if (stop_wanted_) stop(*stop_wanted_);
}

void NodeContainer::refuse(std::string why) {
  state_ = State::ended;
  files_.remove();
  tools_.owner.on_container_refused(record_.container, std::move(why));
}

void NodeContainer::adopt(Time last_seen) {
  const auto runner = files_.read_runner();
  const std::uint64_t ticks = runner ? process_start_ticks(runner->pid) : 0;
  const bool lives = ticks != 0 && (runner->start_ticks == 0 || runner->start_ticks == ticks);
  pid_ = lives ? runner->pid : 0;
  output_ = files_.hold_output();
  if (lives) isolation_.adopt(record_);
  if (!lives || !listen().ok() || !follow()) ended({}, last_seen);
}

// Watches the runner and takes its connections.
bool NodeContainer::follow() {
  const auto watched =
      tools_.processes.watch(pid_, [this, alive = std::weak_ptr<int>(alive_)](ProcessEnd end) {
        if (!alive.expired()) ended(end, tools_.now());
      });
  if (!watched.ok()) return false;
  state_ = State::running;
  const bool has_network =
      isolation_.watch_network(record_, [this, alive = std::weak_ptr<int>(alive_)] {
        if (!alive.expired()) network_ended();
      });
  if (!has_network) network_ended();
  wait_for_runners();
  return true;
}

// --- the runner's connections -----------------------------------------------------------------

Result<> NodeContainer::listen() {
  auto listener = listen_unix(files_.socket_path(), 0666);
  if (!listener.ok()) return std::move(listener).error();
  listener_.assign(listener->release());
  return Ok{};
}

void NodeContainer::wait_for_runners() {
  listener_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                       [this, alive = std::weak_ptr<int>(alive_)](auto error) {
                         if (error || alive.expired()) return;
                         accept_runners();
                         wait_for_runners();
                       });
}

void NodeContainer::accept_runners() {
  for (int looked_at = 0; looked_at < kConnectionsPerTurn; ++looked_at) {
    UniqueFd socket = accept_one(listener_.native_handle());
    if (!socket) break;
    const ucred peer = peer_of(socket.get());
    if (!isolation_.owns(record_, pid_, peer)) {
      if (!std::exchange(met_strangers_, true)) {
        spdlog::warn(
            "{}: a process that is not its runner connected: pid {}, uid {}; more of "
            "them are not told of",
            record_.container.text(), peer.pid, peer.uid);
      }
      continue;
    }
    runner_socket_ = std::move(socket);
  }
  if (runner_socket_) tools_.owner.on_container_runner(record_.container);
}

// --- egress -----------------------------------------------------------------------------------

std::int64_t NodeContainer::egress_bytes() {
  egress_bytes_ = std::max(egress_bytes_, isolation_.egress_bytes(record_).value_or(0));
  return egress_bytes_;
}

std::optional<std::int64_t> NodeContainer::untold_egress_bytes() {
  if (egress_bytes() == egress_bytes_told_) return std::nullopt;
  egress_bytes_told_ = egress_bytes_;
  return egress_bytes_;
}

// --- ending -----------------------------------------------------------------------------------

void NodeContainer::interrupt() {
  if (state_ == State::running) tools_.processes.signal(pid_, SIGUSR1);
}

void NodeContainer::remount(VolumeDirectories volume, uid_t owner,
                            std::function<void(Result<>)> done) {
  if (state_ != State::running) {
    return done(Error{ErrorCode::unavailable, "the container does not run"});
  }
  isolation_.remount(record_, pid_, std::move(volume), owner, std::move(done));
}

void NodeContainer::stop(Duration grace) {
  if (state_ == State::starting) {
    stop_wanted_ = grace;
  } else if (state_ == State::running && grace.us <= 0) {
    kill();
  } else if (state_ == State::running) {
    tools_.processes.signal(pid_, SIGTERM);
    kill_after(grace);
  }
}

// The runner by itself too: it may be so young that it bears no mark of its container yet.
void NodeContainer::kill() {
  tools_.processes.signal(pid_, SIGKILL);
  isolation_.kill_all(record_, pid_);
}

void NodeContainer::kill_after(Duration grace) {
  kill_timer_.expires_after(std::chrono::microseconds(std::min(grace.us, kMaxGraceUs)));
  kill_timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](auto error) {
    if (!error && !alive.expired() && state_ == State::running) kill();
  });
}

void NodeContainer::end_over_share(std::int64_t used_bytes) {
  if (state_ != State::running || over_share_bytes_ > 0) return;
  over_share_bytes_ = used_bytes;
  spdlog::warn("{} used {} bytes of a GPU's memory, and its share is {}; it is ended",
               record_.container.text(), used_bytes, record_.resources.gpu.share_bytes);
  kill();
}

void NodeContainer::network_ended() {
  if (state_ != State::running) return;
  fault_ = "its network ended";
  spdlog::warn("{}: {}; it is ended too", record_.container.text(), fault_);
  stop(kGraceWithoutNetwork);
}

void NodeContainer::ended(ProcessEnd end, Time at) {
  state_ = State::ended;
  end = isolation_.end_of_runner(end);
  kill_timer_.cancel();
  boost::system::error_code ignored;
  listener_.close(ignored);
  // The kernel may have ended another process of the container, and the runner gone on.
  const bool was_killed = end.signal == SIGKILL || (end.signal == 0 && end.exit_status < 0);
  const Isolation::Remains remains = isolation_.clean_up(record_, pid_);
  const bool out_of_memory = remains.out_of_memory == Isolation::OutOfMemory::yes;
  ContainerExit exit{.container = record_.container,
                     .labels_json = record_.labels_json,
                     .started = record_.started,
                     .at = std::max(at, record_.started),
                     .devices = record_.devices,
                     .egress_bytes = std::max(egress_bytes_, remains.egress_bytes.value_or(0)),
                     .out_of_memory = was_killed && out_of_memory,
                     .gpu_used_bytes = was_killed ? over_share_bytes_ : 0,
                     .fault = fault_,
                     .exit_status = end.exit_status,
                     .signal = end.signal,
                     .last_output = files_.last_output(kLastOutputBytes)};
  if (auto kept = files_.keep_exit(exit); !kept.ok()) {
    spdlog::error("{}: its end could not be kept: {}", record_.container.text(),
                  kept.error().message);
  }
  tools_.owner.on_container_ended(std::move(exit));
}

}  // namespace ember

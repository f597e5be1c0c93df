// The containers as the driver sees them: it has the node start and stop them, talks to their
// runners, and tells the engine what becomes of them.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/token_bucket.h"
#include "control/app_catalog.h"
#include "control/biller.h"
#include "control/engine_driver.h"
#include "control/fleet.h"
#include "control/log_book.h"
#include "control/runner_session.h"
#include "control/secrets.h"
#include "control/source_store.h"
#include "control/strangers.h"
#include "control/volume_mounts.h"
#include "node/node_client.h"

namespace ember {

// A start, step by step, for a call that waited for it. What the runner says of itself is taken
// within the time that its container took to boot.
struct StartSteps {
  std::int64_t placed_us = 0;       // from the call's arrival until a node began; zero if it had
  std::int64_t sandbox_us = 0;      // until the interpreter ran, as far as it can be told apart
  std::int64_t interpreter_us = 0;  // its processor time up to the runner's first line
  std::int64_t imports_us = 0;      // the runner's own, until it had connected
  std::int64_t load_us = 0;         // the user's module
};

// What a container may send unasked: logs above all. Twice what its own runner allows itself, so
// that only one that does not keep to that is made to wait.
inline constexpr TokenRate kUnaskedBytes{.burst = 16 << 20, .per_second = 2 << 20};

// What waits for a runner to read it: one that has more is not heard until it has read.
inline constexpr std::size_t kMostUnreadBytes = 64u << 20;

struct Container {
  ContainerId id;
  FunctionPtr function;
  NodeId node;
  std::vector<DeviceId> devices;
  std::shared_ptr<const Tariff> tariff;  // shared with records of its calls
  Time placed, started, loading, ready;  // zero where it has not come yet
  Duration interpreter, imports;         // of its boot, as its runner says
  bool adopted = false;                  // it was there before this server
  bool stop_requested = false;
  bool met_runner = false;
  bool start_charged = false;              // to the first call that had waited for it
  std::unique_ptr<RunnerSession> session;  // null while the runner is not connected
  TokenBucket unasked{kUnaskedBytes};
  bool paused = false;     // it is in debt, and nothing is read from it
  std::string load_error;  // the runner's error body, if it could not load
  ContainerExit exit;      // once it has ended
  bool exited = false;

  Duration boot() const;
  Duration load() const;
  // For a call that arrived at that time and waited for it.
  StartSteps steps(Time arrived) const;
};

// What the rest of the driver hears from runners.
class RunnerListener {
 public:
  virtual ~RunnerListener() = default;
  virtual void on_reply(Container& container, const FrameHeader& header, std::string& body) = 0;
  virtual void on_nested_call(Container& container, const FrameHeader& header,
                              std::string& body) = 0;
  // Whether it is an item that somebody waits for.
  virtual bool on_item(Container& container, const FrameHeader& header, std::string& body) = 0;
  virtual void on_nested_credit(Container& container, const FrameHeader& header,
                                const std::string& body) = 0;
  virtual void on_nested_cancel(Container& container, const FrameHeader& header) = 0;
  virtual void on_room(Container& container, const FrameHeader& header,
                       const std::string& body) = 0;
  virtual void on_progress(Container& container, const FrameHeader& header,
                           const std::string& body) = 0;
  virtual void on_volume_request(Container& container, const FrameHeader& header,
                                 std::string& body) = 0;
  virtual void on_variant_request(Container& container, const FrameHeader& header,
                                  std::string& body) = 0;
  virtual void on_shared_request(Container& container, const FrameHeader& header,
                                 std::string& body) = 0;
  // A container takes inputs.
  virtual void on_ready() = 0;
  virtual void on_runner_gone(ContainerId container) = 0;
};

class Containers final : public RunnerEvents {
 public:
  Containers(boost::asio::io_context& loop, EngineDriver& driver, NodeClient& node,
             NodeFleet& fleet, AppCatalog& catalog, SourceStore& sources, const Secrets& secrets,
             Biller& biller, LogBook& logs, Strangers& strangers, VolumeMounts& volumes);

  void set_listener(RunnerListener* listener) { listener_ = listener; }
  void await(Awaited awaited);  // before the node is met

  // --- what the engine wants ---
  void start(const StartContainer& action);
  void stop(const StopContainer& action);
  void release(const ReleaseContainer& action);

  // --- what the node says ---
  // Two halves of a hello: first what we know and the node does not, before it offers room, then
  // what the node has.
  void settle_missing(const NodeHello& hello);
  void settle_survivors(const NodeHello& hello);
  void on_started(ContainerId id, Time at);
  void on_refused(ContainerId id, const std::string& why);
  void on_egress(ContainerId id, std::int64_t total_bytes);
  void on_exited(ContainerExit exit);
  void on_runner(ContainerId id, UniqueFd socket);

  // --- runners ---
  Container* find(ContainerId id);
  const Container* find(ContainerId id) const;
  // Goes nowhere where there is no runner: that one is found to be gone by its exit.
  void send(ContainerId id, FrameHeader header, std::string_view prefix, std::string body,
            UniqueFd file = {});
  void on_runner_frame(ContainerId id, const FrameHeader& header, std::string& body) override;
  void on_runner_closed(ContainerId id, std::string_view why) override;
  // Ends one whose runner breaks the protocol.
  void break_off(const Container& container, const std::string& why);

  std::size_t size() const { return containers_.size(); }
  static Error no_such_container(ContainerId id);

 private:
  Container& add(ContainerId id, FunctionPtr function, NodeId node, std::vector<DeviceId> devices);
  void note(const Container& container, std::string text);
  void fail_start(Container& container, const std::string& why, Refusal refusal);
  void kill(ContainerId id);
  // `ended` is zero while it lives.
  void adopt(const Awaited& awaited, const std::vector<DeviceId>& devices, Time started,
             Time ended = {});
  void expect_exit(ContainerId id);
  void give_up_on_awaited();
  void finish(Container& container, ContainerExit exit);
  void late_exit(ContainerExit exit);
  void bill_late(const Awaited& awaited, ContainerExit exit);
  void ask_who_ended(ContainerExit exit);
  void bill_stranger(ContainerExit exit, const Result<Awaited>& identified);
  void on_hello_frame(Container& container, const std::string& body);
  void send_secrets(Container& container);
  void on_ready_frame(Container& container);
  void on_log_frame(Container& container, const FrameHeader& header, std::string& body);
  void charge(Container& container, const FrameHeader& header);
  void charge_unasked(Container& container, std::uint32_t bytes);
  void pause(Container& container, Duration debt);
  void resume_after(ContainerId id, Duration pause);

  boost::asio::io_context& loop_;
  BodyBudget bodies_;
  EngineDriver& driver_;
  NodeClient& node_;
  NodeFleet& fleet_;
  AppCatalog& catalog_;
  SourceStore& sources_;
  const Secrets& secrets_;
  Biller& biller_;
  LogBook& logs_;
  Strangers& strangers_;
  VolumeMounts& volumes_;
  RunnerListener* listener_ = nullptr;
  boost::unordered_flat_map<ContainerId, std::unique_ptr<Container>, IdHash> containers_;
  std::map<ContainerId, Awaited> awaited_;
  std::set<ContainerId> asking_;    // of whom the store is asked who they were
  std::set<ContainerId> settling_;  // released; their ends are on the way to the disk
  std::int64_t paused_ = 0;         // containers
};

}  // namespace ember

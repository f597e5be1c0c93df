// The live driver of the engine: feeds it what happens, performs what it decides, and is the
// `Control` that the gateway calls. This class only joins the parts; each does one thing:
//
//   EngineDriver   time, events in, actions out      Calls        from arrival to answer
//   AppCatalog     what is deployed                  Containers   start, talk, stop, adopt
//   Deployments    changes of it, durable first      Biller       usage to ledger
//   SourceStore    users' files                      LogBook      what containers write
//   Secrets        sealed values for containers
//   ImageBuilds    images                            Listings     documents to look at
//   ImageAdmin     what is kept of them              Leases       devices that people have
//   Volumes        file trees and their versions     Schedules    calls at their times
//   ExecSessions   commands in containers            WebCalls     requests to web endpoints
//   SharedStates   dictionaries and queues           Webhooks     ends of calls, told to URLs
//
// Everything runs on the loop's thread; disk work runs on a small pool, state in the store's own
// thread, and both answer through the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "billing/price_book.h"
#include "control/clock.h"
#include "control/control.h"
#include "control/log_files.h"
#include "control/sealed_box.h"
#include "control/webhook_sender.h"
#include "engine/engine.h"
#include "node/node_client.h"
#include "store/store.h"

namespace ember {

struct LiveControlOptions {
  std::string data;                             // directory of serve's own state
  std::string version;                          // of Ember, for `status`
  Duration node_grace = Duration::seconds(10);  // from a lost connection to a lost node
  LogLimits logs;
  std::uint32_t workspace_queue_limit = EngineOptions{}.workspace_queue_limit;
  Duration results_kept = Duration::seconds(7 * 24 * 3600);  // of asynchronous calls, at least
  std::optional<MasterKey> master_key;           // none: no secret can be sealed or opened
  std::vector<IpNetwork> webhooks_allowed = {};  // beside the public internet
};

class LiveControl final : public Control, private NodeObserver {
 public:
  // Borrows the loop, clock, store, node, prices and sender; all outlive it, and the loop does not
  // run once it is gone.
  // `snapshot` is what the store gave when it was opened.
  LiveControl(LiveControlOptions options, boost::asio::io_context& loop, Clock& clock, Store& store,
              Snapshot snapshot, NodeClient& node, const PriceBook& prices, WebhookSender& sender);
  ~LiveControl() override;

  // Takes up where the last server stopped, then connects to the node. Before the loop runs.
  Result<> start();

  // Where the gateway listens, without a final slash; for the URLs that deploys and listings name.
  void set_url(std::string url);
  // Where web endpoints are, likewise: "http" and "localhost:7778", in front of which their labels
  // stand.
  void set_web_origin(std::string scheme, std::string place);

  // Makes the key of the data directory known, durably, unless it is already.
  void ensure_key(std::string key_text, std::string name, std::function<void(Result<>)> done);

  // Refuses new calls, lets running ones end, stops the containers. `drained` once all of it is
  // done and on disk; the caller has a deadline of its own.
  void begin_drain(std::function<void()> drained);

  // Does what is due; for tests with a clock of their own.
  void tick();

  // --- Control ---
  Result<KeyId> authenticate(std::string_view key_text) override;
  std::uint64_t key_changes() const override;
  std::string keys_json() override;
  void create_key(std::string request_json, Done done) override;
  void revoke_key(std::string id_or_name, Done done) override;
  std::string secrets_json() override;
  Result<std::string> secret_json(std::string_view id_or_name) override;
  void create_secret(std::string request_json, Done done) override;
  void delete_secret(std::string id_or_name, bool force, Done done) override;
  StartedCall start_call(CallRequest request, CallWaiter* waiter) override;
  void abandon_call(CallId call) override;
  Result<> cancel_call(CallId call) override;
  void accept_items(CallId call, StreamCredit gone) override;
  CallStatus call_status(CallId call) override;
  AsyncCalls& async_calls() override;
  ScheduleService& schedules() override;
  WebService& web() override;
  WebhookService& webhooks() override;
  Result<std::unique_ptr<MessageSession>> open_map(const MapRequest& request,
                                                   MessageClient& client) override;
  void register_source(std::string manifest_json,
                       std::function<void(Result<UploadResult>)> done) override;
  void put_blob(std::string sha256, std::string bytes, std::function<void(Result<>)> done) override;
  void build_image(std::string spec_json, std::shared_ptr<BuildObserver> observer) override;
  void images_json(Done done) override;
  void image_log_json(std::string image, Done done) override;
  void prune_images(std::string request_json, Done done) override;
  void push_image(std::string image, std::string request_json,
                  std::shared_ptr<BuildObserver> observer) override;
  void deploy(std::string app, std::string request_json, Done done) override;
  void rollback(std::string app, std::uint32_t version, Rollout rollout, Done done) override;
  void stop_app(std::string app, Done done) override;
  Result<> heartbeat(std::string_view app) override;
  void make_variant(std::string app, std::string function, std::string request_json,
                    Done done) override;
  void change_scaling(std::string app, std::string function, std::string variant,
                      std::string request_json, Done done) override;
  Result<std::string> pool_stats_json(std::string_view app, std::string_view function,
                                      std::string_view variant) override;
  std::shared_ptr<void> ask_lease(KeyId key, std::string request_json, Done done) override;
  Result<std::string> end_lease(std::string_view lease) override;
  std::string leases_json() override;
  std::string status_json() override;
  std::string apps_json() override;
  Result<std::string> app_json(std::string_view app) override;
  void history_json(std::string app, Done done) override;
  std::string containers_json() override;
  std::string nodes_json() override;
  std::string calls_json(std::string_view app, std::size_t limit) override;
  Result<std::string> call_json(CallId call) override;
  void cost_json(std::string by, std::string app, Time from, Time until, Done done) override;
  std::string prices_json() override;
  Result<std::string> call_cost_json(CallId call) override;
  VolumeService& volumes() override;
  SharedService& shared() override;
  Result<std::unique_ptr<MessageSession>> open_exec(ContainerId container,
                                                    MessageClient& client) override;
  void container_processes_json(ContainerId container, Done done) override;
  void container_stacks_json(ContainerId container, Done done) override;
  Result<std::string> stop_container(ContainerId container, ContainerStop how) override;
  void open_shell(std::string app, std::string function, Done done) override;
  void app_of_container(ContainerId container, Done done) override;
  void logs(const LogQuery& query, std::function<void(Result<std::vector<LogLine>>)> done) override;
  Result<std::shared_ptr<void>> follow_logs(const LogQuery& query,
                                            std::shared_ptr<LogFollower> follower) override;
  std::vector<FunctionMetrics> metrics() override;

 private:
  struct Parts;
  class Performer;

  // --- NodeObserver ---
  void on_hello(NodeHello hello) override;
  void on_lost() override;
  void on_started(ContainerId container, Time at) override;
  void on_refused(ContainerId container, std::string why) override;
  void on_egress(ContainerId container, std::int64_t total_bytes) override;
  void on_devices(std::vector<Device> devices, std::vector<std::string> missing) override;
  void on_exited(ContainerExit exit) override;
  void on_runner(ContainerId container, UniqueFd socket) override;
  void on_remounted(ContainerId container, std::string path, Result<> result) override;
  void on_build_line(std::string image_id, std::string line) override;
  void on_built(std::string image_id, Result<> result) override;
  void on_image_answer(std::uint64_t query, Result<std::string> document) override;
  void on_exec_stream(ExecId exec, ExecStream stream, UniqueFd file) override;
  void on_exec_ended(ExecId exec, Result<ExecExit> exit) override;
  void on_inspected(std::uint64_t question, Result<std::string> answer) override;

  void inspect(ContainerId container, ProcessQuery what, Done done);
  Result<> refuse_while_draining() const;
  void check_drained();

  std::unique_ptr<Parts> parts_;
};

}  // namespace ember

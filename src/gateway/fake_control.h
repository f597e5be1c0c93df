// A Control for the gateway's tests: remembers what it was asked, and answers what it was told to.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/control.h"
#include "gateway/fake_async_calls.h"
#include "gateway/fake_schedules.h"
#include "gateway/fake_shared.h"
#include "gateway/fake_volumes.h"
#include "gateway/fake_web.h"
#include "gateway/fake_webhooks.h"

namespace ember {

class FakeControl final : public Control {
 public:
  struct StartedCall {
    CallId id;
    std::string app, function;
    Body arguments;
    KeyId caller;
    CallWaiter* waiter = nullptr;
    std::string variant = {};
    CallWants wants = CallWants::result;
    Priority priority = {};
  };
  struct Follower {
    LogQuery query;
    std::weak_ptr<void> subscription;
    std::shared_ptr<LogFollower> follower;
  };

  // --- what tests set ---
  std::string good_key = "ek-good";
  std::optional<CallFailure> refuse_calls;
  std::optional<Error> refuse_documents;  // what every fallible request below answers
  std::vector<LogLine> past_lines;

  // --- what tests look at ---
  int authentications = 0;
  std::uint64_t changes_of_keys = 0;
  std::deque<StartedCall> calls;  // tests keep references to them
  std::vector<CallId> abandoned, cancelled;
  std::vector<Follower> followers;
  std::map<std::string, std::string> blobs, deployed;
  std::vector<std::string> asked;  // "rollback shop 3"
  std::vector<Done> pending;       // documents that a test answers later
  std::vector<std::function<void(Result<std::vector<LogLine>>)>> pending_logs;
  std::shared_ptr<BuildObserver> build;
  bool answer_later = false;
  int sessions = 0;  // of messages, that live

  CallReport report(const StartedCall& call) const {
    CallReport result;
    result.call = call.id;
    result.container = ContainerId{7};
    result.queued_us = 1'250;
    result.execute_us = 2'000'003;
    result.total_us = 2'001'253;
    result.cold = true;
    result.boot_ms = 12;
    result.load_ms = 34;
    result.cost = Money{123};
    result.start_cost = Money{1'500'000'000};
    result.gpu = "L4 (simulated)";
    result.attempt = 2;
    return result;
  }

  FakeVolumes fake_volumes;
  VolumeService& volumes() override { return fake_volumes; }
  FakeShared fake_shared;
  SharedService& shared() override { return fake_shared; }

  Result<KeyId> authenticate(std::string_view key_text) override {
    ++authentications;
    if (key_text == good_key) return KeyId{1};
    return {ErrorCode::unauthenticated, "this key is not known; use another"};
  }
  std::uint64_t key_changes() const override { return changes_of_keys; }
  std::string keys_json() override { return R"({"asked": "keys"})"; }
  void create_key(std::string request_json, Done done) override {
    answer("create key " + request_json, std::move(done));
  }
  void revoke_key(std::string id_or_name, Done done) override {
    answer("revoke key " + id_or_name, std::move(done));
  }

  std::string secrets_json() override { return R"({"asked": "secrets"})"; }
  Result<std::string> secret_json(std::string_view id_or_name) override {
    return document("secret", id_or_name);
  }
  void create_secret(std::string request_json, Done done) override {
    answer("create secret " + request_json, std::move(done));
  }
  void delete_secret(std::string id_or_name, bool force, Done done) override {
    answer((force ? "force delete secret " : "delete secret ") + id_or_name, std::move(done));
  }

  std::shared_ptr<void> ask_lease(KeyId key, std::string request_json, Done done) override {
    answer("ask lease " + key.text() + " " + request_json, std::move(done));
    return std::shared_ptr<void>(this, [this](void*) { ++leases_let_go; });
  }
  Result<std::string> end_lease(std::string_view lease) override {
    return R"({"ended": ")" + std::string(lease) + "\"}";
  }
  std::string leases_json() override { return R"({"asked": "leases"})"; }
  int leases_let_go = 0;

  ember::StartedCall start_call(CallRequest request, CallWaiter* waiter) override {
    if (refuse_calls) return *refuse_calls;
    const CallId id{++last_call_};
    calls.push_back({id, std::string(request.app), std::string(request.function),
                     std::move(request.arguments), request.caller, waiter,
                     std::string(request.variant), request.wants, request.priority});
    return id;
  }
  void abandon_call(CallId call) override { abandoned.push_back(call); }
  void accept_items(CallId, StreamCredit gone) override {
    accepted.items += gone.items;
    accepted.bytes += gone.bytes;
  }
  CallStatus call_status(CallId) override { return status; }
  CallStatus status{CallPhase::running, 0, "runs on a container"};
  StreamCredit accepted;
  FakeAsyncCalls fake_async_calls;
  AsyncCalls& async_calls() override { return fake_async_calls; }
  FakeSchedules fake_schedules;
  ScheduleService& schedules() override { return fake_schedules; }
  FakeWeb fake_web;
  WebService& web() override { return fake_web; }
  FakeWebhooks fake_webhooks;
  WebhookService& webhooks() override { return fake_webhooks; }
  Result<> cancel_call(CallId call) override {
    if (refuse_documents) return *refuse_documents;
    cancelled.push_back(call);
    return Ok{};
  }

  void register_source(std::string manifest_json,
                       std::function<void(Result<UploadResult>)> done) override {
    asked.push_back("source " + manifest_json);
    if (refuse_documents) return done(*refuse_documents);
    done(UploadResult{"src-1", {"aa", "bb"}});
  }
  void put_blob(std::string sha256, std::string bytes,
                std::function<void(Result<>)> done) override {
    blobs[sha256] = std::move(bytes);
    if (refuse_documents) return done(*refuse_documents);
    done(Ok{});
  }
  void build_image(std::string spec_json, std::shared_ptr<BuildObserver> observer) override {
    asked.push_back("build " + spec_json);
    build = std::move(observer);
  }
  void images_json(Done done) override { answer("images", std::move(done)); }
  void image_log_json(std::string image, Done done) override {
    answer("image log " + image, std::move(done));
  }
  void prune_images(std::string request_json, Done done) override {
    answer("prune " + request_json, std::move(done));
  }
  void push_image(std::string image, std::string request_json,
                  std::shared_ptr<BuildObserver> observer) override {
    asked.push_back("push " + image + " " + request_json);
    build = std::move(observer);
  }
  void deploy(std::string app, std::string request_json, Done done) override {
    deployed[app] = std::move(request_json);
    answer("deploy " + app, std::move(done));
  }
  void rollback(std::string app, std::uint32_t version, Rollout rollout, Done done) override {
    const char* how = rollout == Rollout::recreate ? " at once" : "";
    answer("rollback " + app + " " + std::to_string(version) + how, std::move(done));
  }
  void stop_app(std::string app, Done done) override { answer("stop " + app, std::move(done)); }
  void make_variant(std::string app, std::string function, std::string request_json,
                    Done done) override {
    answer("variant " + app + " " + function + " " + request_json, std::move(done));
  }
  void change_scaling(std::string app, std::string function, std::string variant,
                      std::string request_json, Done done) override {
    answer("scale " + app + " " + function + " " + variant + " " + request_json, std::move(done));
  }
  Result<std::string> pool_stats_json(std::string_view app, std::string_view function,
                                      std::string_view variant) override {
    return document("stats " + std::string(app) + " " + std::string(function), variant);
  }
  Result<> heartbeat(std::string_view app) override {
    asked.push_back("heartbeat " + std::string(app));
    if (refuse_documents) return *refuse_documents;
    return Ok{};
  }

  std::string status_json() override { return R"({"asked": "status"})"; }
  std::string apps_json() override { return R"({"asked": "apps"})"; }
  Result<std::string> app_json(std::string_view app) override { return document("app", app); }
  void history_json(std::string app, Done done) override {
    answer("history " + app, std::move(done));
  }
  std::string containers_json() override { return R"({"asked": "containers"})"; }
  std::string nodes_json() override { return R"({"asked": "nodes"})"; }
  std::string calls_json(std::string_view app, std::size_t limit) override {
    return R"({"asked": "calls )" + std::string(app) + " " + std::to_string(limit) + "\"}";
  }
  Result<std::string> call_json(CallId call) override { return document("call", call.text()); }
  void cost_json(std::string by, std::string app, Time from, Time until, Done done) override {
    answer("cost " + by + " " + app + " " + std::to_string(from.whole_ms()) + " " +
               std::to_string(until.whole_ms()),
           std::move(done));
  }
  std::string prices_json() override { return R"({"asked": "prices"})"; }
  Result<std::string> call_cost_json(CallId call) override {
    return document("call cost", call.text());
  }

  // Says back what it hears; "end" ends it.
  struct EchoSession final : MessageSession {
    EchoSession(FakeControl& all, MessageClient& its_client) : control(all), client(its_client) {
      ++control.sessions;
    }
    ~EchoSession() override { --control.sessions; }
    void on_text(std::string_view text) override {
      client.send_text(text);
      if (text == "end") client.end_messages();
    }
    void on_bytes(std::string_view bytes) override { client.send_bytes(bytes); }
    FakeControl& control;
    MessageClient& client;
  };
  Result<std::unique_ptr<MessageSession>> open_exec(ContainerId container,
                                                    MessageClient& client) override {
    asked.push_back("exec " + container.text());
    if (refuse_documents) return *refuse_documents;
    return std::unique_ptr<MessageSession>(std::make_unique<EchoSession>(*this, client));
  }
  Result<std::unique_ptr<MessageSession>> open_map(const MapRequest& request,
                                                   MessageClient& client) override {
    asked.push_back("map " + std::string(request.app) + " " + std::string(request.function) + " " +
                    request.caller.text() + std::string(request.variant));
    if (refuse_documents) return *refuse_documents;
    return std::unique_ptr<MessageSession>(std::make_unique<EchoSession>(*this, client));
  }
  void container_processes_json(ContainerId container, Done done) override {
    answer("processes " + container.text(), std::move(done));
  }
  void container_stacks_json(ContainerId container, Done done) override {
    answer("stacks " + container.text(), std::move(done));
  }
  Result<std::string> stop_container(ContainerId container, ContainerStop how) override {
    return document(how == ContainerStop::now ? "stop now" : "stop", container.text());
  }
  void open_shell(std::string app, std::string function, Done done) override {
    answer("shell " + app + " " + function, std::move(done));
  }
  void app_of_container(ContainerId container, Done done) override {
    asked.push_back("app of " + container.text());
    if (refuse_documents) return done(*refuse_documents);
    done(std::string("shop"));
  }

  void logs(const LogQuery& query,
            std::function<void(Result<std::vector<LogLine>>)> done) override {
    asked.push_back("logs " + query.app + " " + std::to_string(query.last));
    if (refuse_documents) return done(*refuse_documents);
    if (answer_later) {
      pending_logs.push_back(std::move(done));
    } else {
      done(past_lines);
    }
  }
  Result<std::shared_ptr<void>> follow_logs(const LogQuery& query,
                                            std::shared_ptr<LogFollower> follower) override {
    auto subscription = std::make_shared<int>(0);
    followers.push_back({query, subscription, std::move(follower)});
    return std::shared_ptr<void>(std::move(subscription));
  }

  std::vector<FunctionMetrics> metrics() override {
    FunctionMetrics function;
    function.app = "shop";
    function.function = "price";
    function.succeeded = 3;
    function.invoke_buckets = {1, 0, 2};
    function.invoke_sum_us = 6'500;
    function.gpu_ms_busy = 1'500;
    function.cost_nano_usd = 2'500'000'000;
    return {function};
  }

 private:
  Result<std::string> document(std::string_view kind, std::string_view name) {
    if (refuse_documents) return *refuse_documents;
    return R"({"asked": ")" + std::string(kind) + " " + std::string(name) + "\"}";
  }
  void answer(const std::string& what, Done done) {
    asked.push_back(what);
    if (answer_later) {
      pending.push_back(std::move(done));
    } else if (refuse_documents) {
      done(*refuse_documents);
    } else {
      done(R"({"asked": ")" + what + "\"}");
    }
  }

  std::uint64_t last_call_ = 0;
};

}  // namespace ember

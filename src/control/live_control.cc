#include "control/live_control.h"

#include <spdlog/spdlog.h>

#include <type_traits>
#include <utility>

#include "control/parts.h"

namespace ember {
namespace {

constexpr std::size_t kThreads = 2;                       // for disks and hashing
constexpr std::size_t kMaxSecretRequestBytes = 1u << 20;  // more than 64 KiB, escaped
constexpr Duration kDrainLook = Duration::milliseconds(20);

EngineOptions engine_options(const LiveControlOptions& given, std::uint32_t epoch) {
  EngineOptions options;
  options.epoch = epoch;
  options.workspace_queue_limit = given.workspace_queue_limit;
  options.begin = Begin::recovering;
  return options;
}

}  // namespace

LiveControl::Parts::Parts(LiveControlOptions given, boost::asio::io_context& loop, Clock& clock,
                          Store& store_given, Snapshot snapshot_given, NodeClient& node_given,
                          const PriceBook& prices_given, WebhookSender& sender)
    : options(std::move(given)),
      store(store_given),
      node(node_given),
      prices(prices_given),
      snapshot(std::move(snapshot_given)),
      sources(options.data),
      driver(loop, clock, engine_options(options, snapshot.epoch)),
      volumes(loop, driver, store, catalog, ids, prices, options.data + "/volumes"),
      background(loop, kThreads),
      keys(driver, store, background, ids),
      secrets(driver, catalog, store, background, ids, options.master_key),
      shared(driver, store, background, ids, keys.ring()),
      logs(options.data, options.logs, driver, background),
      biller(driver, store, background, prices),
      strangers(store, background, catalog),
      images(node, fleet, sources, background, secrets),
      image_admin(driver, node, images, catalog),
      mounts(driver, volumes, node),
      containers(loop, driver, node, fleet, catalog, sources, secrets, biller, logs, strangers,
                 mounts),
      volume_requests(mounts, containers),
      shared_requests(shared, containers),
      calls(driver, catalog, containers, fleet, logs, node, ids),
      webhook_keys(driver, store, background, options.master_key,
                   [this] { return secrets.may_seal(); }),
      webhooks(driver, store, background, webhook_keys, sender, options.webhooks_allowed),
      durable_calls({.driver = driver,
                     .catalog = catalog,
                     .calls = calls,
                     .store = store,
                     .background = background,
                     .ids = ids,
                     .webhooks = webhooks,
                     .kept = options.results_kept,
                     .describe = [this](CallId call) { return listings.call(call); },
                     .graph = [this](CallId call, auto done) { graph.draw(call, std::move(done)); },
                     .hand_on =
                         [this](const Function& function, CallId from, CallId to, auto then) {
                           checkpoints.hand_on(function, from, to, std::move(then));
                         }}),
      scheduled(driver, catalog, store, background, durable_calls, zones),
      maps({.loop = loop,
            .driver = driver,
            .catalog = catalog,
            .calls = calls,
            .make_variant =
                [this](auto app, auto function, auto request, auto done) {
                  variants.make(app, function, request, std::move(done));
                },
            .is_open = [this] { return takes_calls(); }}),
      web({.driver = driver,
           .catalog = catalog,
           .calls = calls,
           .containers = containers,
           .ids = ids,
           .is_open = [this] { return takes_calls(); }}),
      nested(calls, durable_calls, containers),
      deployments(driver, catalog, store, background, sources, images, secrets, fleet, calls,
                  volumes.catalog(), zones, ids, prices),
      variants(driver, catalog, store, background, deployments, ids),
      variant_requests(variants, containers),
      scaling(driver, catalog, store, background),
      leases(driver, store, background, biller, fleet, catalog, keys.ring(), ids),
      execs(loop, driver, node, containers, ids),
      listings(driver, catalog, calls.table(), containers, fleet, deployments, logs, leases),
      graph(calls.table(), listings, store, background),
      checkpoints(driver, calls.table(), volumes, store, background),
      performer(*this),
      startup(store, background, catalog, deployments, variants, scaling, containers),
      started(driver.now()) {
  deployments.on_change([this](const App& app) { scheduled.refresh(app); });
  calls.on_checkpointed_end(
      [this](const FinishedCall& call, Bond bond) { checkpoints.call_ended(call, bond); });
  driver.set_performer(&performer);
  containers.set_listener(&performer);
}

void LiveControl::Performer::perform(const Action& action) {
  std::visit(
      [this](const auto& wanted) {
        using Kind = std::decay_t<decltype(wanted)>;
        if constexpr (std::is_same_v<Kind, DispatchInput>) {
          parts_.calls.dispatch(wanted);
          parts_.web.dispatched(wanted);
        }
        if constexpr (std::is_same_v<Kind, CancelInput>) parts_.calls.interrupt(wanted);
        if constexpr (std::is_same_v<Kind, AnswerInput>) parts_.calls.answer(wanted);
        if constexpr (std::is_same_v<Kind, FailInput>) parts_.calls.fail(wanted);
        if constexpr (std::is_same_v<Kind, RetryInput>) parts_.calls.retry(wanted);
        if constexpr (std::is_same_v<Kind, StartContainer>) parts_.containers.start(wanted);
        if constexpr (std::is_same_v<Kind, StopContainer>) parts_.containers.stop(wanted);
        if constexpr (std::is_same_v<Kind, ReleaseContainer>) {
          parts_.containers.release(wanted);
          parts_.deployments.rollouts().look_soon();
        }
        if constexpr (std::is_same_v<Kind, GrantLease>) parts_.leases.grant(wanted);
        if constexpr (std::is_same_v<Kind, RefuseLease>) parts_.leases.refuse(wanted);
        if constexpr (std::is_same_v<Kind, ReleaseLease>) parts_.leases.release(wanted);
        if constexpr (std::is_same_v<Kind, RecordUsage>) {
          if (wanted.row.lease) return parts_.leases.record(wanted.row);
          const Container* container = parts_.containers.find(wanted.row.container);
          EMBER_ASSERT(container);  // usage is recorded before its container is released
          parts_.biller.record(wanted.row, *container->function, *container->tariff);
        }
      },
      action);
}

void LiveControl::Performer::on_reply(Container& container, const FrameHeader& header,
                                      std::string& body) {
  parts_.calls.on_reply(container, header, body);
}

bool LiveControl::Performer::on_item(Container& container, const FrameHeader& header,
                                     std::string& body) {
  return parts_.calls.on_item(container, header, body);
}

void LiveControl::Performer::on_nested_credit(Container& container, const FrameHeader& header,
                                              const std::string& body) {
  parts_.nested.on_credit(container.id, header, body);
}

void LiveControl::Performer::on_nested_cancel(Container& container, const FrameHeader& header) {
  parts_.nested.cancel(container.id, header);
  parts_.shared_requests.cancel(container.id, header);
}

void LiveControl::Performer::on_room(Container& container, const FrameHeader& header,
                                     const std::string& body) {
  parts_.web.on_room(container, header, body);
}

void LiveControl::Performer::on_nested_call(Container& container, const FrameHeader& header,
                                            std::string& body) {
  parts_.nested.start(container.id, header, body);
}

void LiveControl::Performer::on_progress(Container& container, const FrameHeader& header,
                                         const std::string& body) {
  parts_.calls.on_progress(container, header, body);
}

void LiveControl::Performer::on_volume_request(Container& container, const FrameHeader& header,
                                               std::string& body) {
  parts_.volume_requests.start(container.id, header, body);
}

void LiveControl::Performer::on_variant_request(Container& container, const FrameHeader& header,
                                                std::string& body) {
  parts_.variant_requests.start(container.id, header, body);
}

void LiveControl::Performer::on_shared_request(Container& container, const FrameHeader& header,
                                               std::string& body) {
  parts_.shared_requests.start(container.id, header, body);
}

void LiveControl::Performer::on_ready() { parts_.deployments.rollouts().look_soon(); }

void LiveControl::Performer::on_runner_gone(ContainerId container) {
  parts_.nested.runner_gone(container);
  parts_.shared_requests.runner_gone(container);
}

LiveControl::LiveControl(LiveControlOptions options, boost::asio::io_context& loop, Clock& clock,
                         Store& store, Snapshot snapshot, NodeClient& node, const PriceBook& prices,
                         WebhookSender& sender)
    : parts_(std::make_unique<Parts>(std::move(options), loop, clock, store, std::move(snapshot),
                                     node, prices, sender)) {}

LiveControl::~LiveControl() = default;

Result<> LiveControl::start() {
  if (auto prepared = parts_->sources.prepare(); !prepared) return prepared;
  Snapshot snapshot = std::exchange(parts_->snapshot, {});
  if (auto prepared = parts_->volumes.prepare(snapshot); !prepared) return prepared;
  parts_->mounts.restore();
  for (const KeyRecord& key : snapshot.keys) parts_->keys.restore(key);
  for (const SecretRecord& secret : snapshot.secrets) parts_->secrets.restore(secret);
  if (const auto trouble = parts_->secrets.trouble(); !trouble.empty()) spdlog::error(trouble);
  for (const WebhookSecretRecord& key : snapshot.webhook_secrets) parts_->webhook_keys.restore(key);
  parts_->shared.restore(snapshot.shared);
  parts_->leases.restore(snapshot);
  parts_->scheduled.restore(std::move(snapshot.schedules));
  parts_->startup.restore(snapshot, [this] { parts_->node.set_observer(this); });
  parts_->durable_calls.restore(std::move(snapshot.calls));
  parts_->scheduled.begin();
  parts_->webhooks.begin(snapshot.webhooks_waiting);
  parts_->checkpoints.begin();
  return Ok{};
}

void LiveControl::tick() { parts_->driver.tick(); }

// --- keys ---

Result<KeyId> LiveControl::authenticate(std::string_view key_text) {
  return parts_->keys.ring().authenticate(key_text, parts_->driver.now());
}

std::uint64_t LiveControl::key_changes() const { return parts_->keys.ring().changes(); }

std::string LiveControl::keys_json() { return parts_->keys.list(); }

void LiveControl::create_key(std::string request_json, Done done) {
  parts_->keys.create(request_json, std::move(done));
}

void LiveControl::revoke_key(std::string id_or_name, Done done) {
  parts_->keys.revoke(id_or_name, std::move(done));
}

void LiveControl::ensure_key(std::string key_text, std::string name,
                             std::function<void(Result<>)> done) {
  parts_->keys.ensure_own(key_text, name, std::move(done));
}

// --- secrets ---

std::string LiveControl::secrets_json() { return parts_->secrets.list(); }

Result<std::string> LiveControl::secret_json(std::string_view id_or_name) {
  return parts_->secrets.show(id_or_name);
}

void LiveControl::create_secret(std::string request_json, Done done) {
  const WipedAtEnd wiped_text(request_json);
  auto request = parse_json(request_json, "the request", kMaxSecretRequestBytes);
  if (!request) return done(std::move(request).error());
  const WipedAtEnd wiped(*request);
  parts_->secrets.create(*request, std::move(done));
}

void LiveControl::delete_secret(std::string id_or_name, bool force, Done done) {
  parts_->secrets.remove(id_or_name, force ? WhileUsed::allow : WhileUsed::refuse, std::move(done));
}

// --- leases ---

std::shared_ptr<void> LiveControl::ask_lease(KeyId key, std::string request_json, Done done) {
  if (auto open = refuse_while_draining(); !open) return done(std::move(open).error()), nullptr;
  if (auto room = parts_->biller.has_room(); !room) return done(std::move(room).error()), nullptr;
  return parts_->leases.ask(key, request_json, std::move(done));
}

Result<std::string> LiveControl::end_lease(std::string_view lease) {
  return parts_->leases.end(lease);
}

std::string LiveControl::leases_json() { return parts_->leases.list(); }

// --- draining ---

Result<> LiveControl::Parts::is_up() const {
  if (!draining) return Ok{};
  return {ErrorCode::unavailable, "the server is going down; try again once it is up again"};
}

Result<> LiveControl::Parts::takes_calls() const {
  if (auto up = is_up(); !up) return up;
  return biller.has_room();
}

Result<> LiveControl::refuse_while_draining() const { return parts_->is_up(); }

void LiveControl::begin_drain(std::function<void()> drained) {
  parts_->draining = true;
  parts_->drained = std::move(drained);
  parts_->scheduled.stop();
  parts_->webhooks.stop();
  parts_->shared.leave_waiting();
  parts_->durable_calls.leave_waiting();
  parts_->driver.handle(DrainStarted{});
  check_drained();
}

// Several parts have to be done, each in its own time: looked at now and then rather than told by
// all.
void LiveControl::check_drained() {
  const bool done = parts_->calls.table().live() == 0 && parts_->durable_calls.is_settled() &&
                    parts_->containers.size() == 0 && parts_->mounts.is_settled() &&
                    parts_->biller.backlog() == 0 && parts_->logs.is_written() &&
                    parts_->webhooks.is_settled() && parts_->shared.is_settled();
  if (done) return parts_->background.later(std::exchange(parts_->drained, {}));
  parts_->driver.after(kDrainLook, [this] { check_drained(); });
}

// --- calls ---

StartedCall LiveControl::start_call(CallRequest request, CallWaiter* waiter) {
  if (auto open = parts_->takes_calls(); !open) return std::move(open).error();
  return parts_->calls.start(std::move(request), waiter, Origin::outside);
}

void LiveControl::abandon_call(CallId call) { parts_->calls.abandon(call); }

Result<> LiveControl::cancel_call(CallId call) { return parts_->calls.cancel(call); }

void LiveControl::accept_items(CallId call, StreamCredit gone) {
  parts_->calls.accept_items(call, gone);
}

CallStatus LiveControl::call_status(CallId call) { return parts_->listings.status(call); }

AsyncCalls& LiveControl::async_calls() { return parts_->durable_calls; }

ScheduleService& LiveControl::schedules() { return parts_->scheduled; }

WebService& LiveControl::web() { return parts_->web; }
WebhookService& LiveControl::webhooks() { return parts_->webhooks; }

Result<std::unique_ptr<MessageSession>> LiveControl::open_map(const MapRequest& request,
                                                              MessageClient& client) {
  return parts_->maps.open(request, client);
}

// --- deploying ---

void LiveControl::register_source(std::string manifest_json,
                                  std::function<void(Result<UploadResult>)> done) {
  parts_->background.run(
      [sources = &parts_->sources, text = std::move(manifest_json)] {
        return sources->register_manifest(text);
      },
      std::move(done));
}

void LiveControl::put_blob(std::string sha256, std::string bytes,
                           std::function<void(Result<>)> done) {
  parts_->background.run([sources = &parts_->sources, sha256 = std::move(sha256),
                          bytes = std::move(bytes)] { return sources->put_blob(sha256, bytes); },
                         std::move(done));
}

void LiveControl::build_image(std::string spec_json, std::shared_ptr<BuildObserver> observer) {
  parts_->images.build(spec_json, std::move(observer));
}

void LiveControl::images_json(Done done) { parts_->image_admin.list(std::move(done)); }

void LiveControl::image_log_json(std::string image, Done done) {
  parts_->image_admin.log(std::move(image), std::move(done));
}

void LiveControl::prune_images(std::string request_json, Done done) {
  parts_->image_admin.prune(request_json, std::move(done));
}

void LiveControl::push_image(std::string image, std::string request_json,
                             std::shared_ptr<BuildObserver> observer) {
  parts_->image_admin.push(std::move(image), request_json, std::move(observer));
}

void LiveControl::deploy(std::string app, std::string request_json, Done done) {
  const WipedAtEnd wiped(request_json);  // it may hold values of secrets
  if (auto open = refuse_while_draining(); !open) return done(std::move(open).error());
  parts_->deployments.deploy(std::move(app), request_json, std::move(done));
}

void LiveControl::rollback(std::string app, std::uint32_t version, Rollout rollout, Done done) {
  if (auto open = refuse_while_draining(); !open) return done(std::move(open).error());
  parts_->deployments.rollback(std::move(app), version, rollout, std::move(done));
}

void LiveControl::stop_app(std::string app, Done done) {
  parts_->deployments.stop(app, std::move(done));
}

void LiveControl::make_variant(std::string app, std::string function, std::string request_json,
                               Done done) {
  if (auto open = refuse_while_draining(); !open) return done(std::move(open).error());
  parts_->variants.make(app, function, request_json, std::move(done));
}

void LiveControl::change_scaling(std::string app, std::string function, std::string variant,
                                 std::string request_json, Done done) {
  if (auto open = refuse_while_draining(); !open) return done(std::move(open).error());
  parts_->scaling.change(app, function, variant, request_json, std::move(done));
}

Result<std::string> LiveControl::pool_stats_json(std::string_view app, std::string_view function,
                                                 std::string_view variant) {
  return parts_->scaling.stats_json(app, function, variant);
}

void LiveControl::set_url(std::string url) {
  parts_->webhooks.set_url(url);
  parts_->deployments.set_url(std::move(url));
}

void LiveControl::set_web_origin(std::string scheme, std::string place) {
  parts_->deployments.set_web_origin({std::move(scheme), std::move(place)});
}

Result<> LiveControl::heartbeat(std::string_view app) { return parts_->deployments.heartbeat(app); }

}  // namespace ember

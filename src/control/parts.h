// The parts of the live driver, put together in the order in which they lean on each other. For
// live_control*.cc alone.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "control/call_graph.h"
#include "control/calls.h"
#include "control/checkpoints.h"
#include "control/deployments.h"
#include "control/durable_calls.h"
#include "control/exec_sessions.h"
#include "control/image_admin.h"
#include "control/keys.h"
#include "control/leases.h"
#include "control/listings.h"
#include "control/live_control.h"
#include "control/map_sessions.h"
#include "control/nested_calls.h"
#include "control/scaling_changes.h"
#include "control/schedules.h"
#include "control/secrets.h"
#include "control/shared_requests.h"
#include "control/shared_states.h"
#include "control/startup.h"
#include "control/time_zones.h"
#include "control/variant_requests.h"
#include "control/variants.h"
#include "control/volume_requests.h"
#include "control/volumes.h"
#include "control/web_calls.h"
#include "control/webhook_keys.h"
#include "control/webhooks.h"

namespace ember {

// Passes each action on to the part that performs it.
class LiveControl::Performer final : public ActionPerformer, public RunnerListener {
 public:
  explicit Performer(Parts& parts) : parts_(parts) {}

  void perform(const Action& action) override;
  void on_reply(Container& container, const FrameHeader& header, std::string& body) override;
  bool on_item(Container& container, const FrameHeader& header, std::string& body) override;
  void on_nested_call(Container& container, const FrameHeader& header, std::string& body) override;
  void on_nested_credit(Container& container, const FrameHeader& header,
                        const std::string& body) override;
  void on_nested_cancel(Container& container, const FrameHeader& header) override;
  void on_room(Container& container, const FrameHeader& header, const std::string& body) override;
  void on_progress(Container& container, const FrameHeader& header,
                   const std::string& body) override;
  void on_volume_request(Container& container, const FrameHeader& header,
                         std::string& body) override;
  void on_variant_request(Container& container, const FrameHeader& header,
                          std::string& body) override;
  void on_shared_request(Container& container, const FrameHeader& header,
                         std::string& body) override;
  void on_ready() override;
  void on_runner_gone(ContainerId container) override;

 private:
  Parts& parts_;
};

struct LiveControl::Parts {
  Parts(LiveControlOptions options, boost::asio::io_context& loop, Clock& clock, Store& store,
        Snapshot snapshot, NodeClient& node, const PriceBook& prices, WebhookSender& sender);

  // Why nothing new is taken; nothing if it is.
  Result<> is_up() const;
  Result<> takes_calls() const;

  const LiveControlOptions options;
  Store& store;
  NodeClient& node;
  const PriceBook& prices;
  Snapshot snapshot;  // until start()
  IdSource ids;
  NodeFleet fleet;
  AppCatalog catalog;
  SourceStore sources;
  EngineDriver driver;
  Volumes volumes;
  Background background;  // ends, when its turn comes, before all that its threads work on
  Keys keys;
  Secrets secrets;
  SharedStates shared;
  LogBook logs;
  Biller biller;
  Strangers strangers;
  ImageBuilds images;
  ImageAdmin image_admin;
  VolumeMounts mounts;
  Containers containers;
  VolumeRequests volume_requests;
  SharedRequests shared_requests;
  Calls calls;
  WebhookKeys webhook_keys;
  Webhooks webhooks;
  DurableCalls durable_calls;
  TimeZones zones;
  Schedules scheduled;
  MapSessions maps;
  WebCalls web;
  NestedCalls nested;
  Deployments deployments;
  Variants variants;
  VariantRequests variant_requests;
  ScalingChanges scaling;
  Leases leases;
  ExecSessions execs;
  Listings listings;
  CallGraph graph;
  Checkpoints checkpoints;
  Performer performer;
  Startup startup;
  Time started;
  std::uint64_t node_losses = 0;                       // tells a lost connection from a later one
  bool node_is_lost = true;                            // as the engine sees it
  std::map<std::uint64_t, Control::Done> inspections;  // of containers, on their way
  std::uint64_t last_inspection = 0;
  bool draining = false;
  std::function<void()> drained;
};

}  // namespace ember

// After a restart of either side: what the node still has, and what we still know, made one.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "control/containers.h"

namespace ember {
namespace {

// How long exits that the node remembers may take to be told after its hello.
constexpr Duration kExitReports = Duration::seconds(5);
// How long until a store that could not tell is asked again.
constexpr Duration kAskAgain = Duration::seconds(1);

PoolSpec guest_pool(const Function& function, const std::vector<PoolSpec>& current) {
  PoolSpec guest = pool_spec(function);
  guest.settings.scaling.min_containers = 0;
  guest.settings.scaling.buffer_containers = 0;
  const auto successor = std::ranges::find(current, guest.function, &PoolSpec::function);
  if (successor != current.end()) {
    guest.settings.scaling.max_containers = successor->settings.scaling.max_containers;
  }
  return guest;
}

}  // namespace

void Containers::await(Awaited awaited) {
  const ContainerId id = awaited.record.id;
  awaited_[id] = std::move(awaited);
}

void Containers::settle_survivors(const NodeHello& hello) {
  for (const SurvivingContainer& survivor : hello.containers) {
    const Container* known = find(survivor.container);
    const auto awaited = awaited_.find(survivor.container);
    if (known) {
      if (!known->started.us) on_started(survivor.container, survivor.started);
      if (known->stop_requested) kill(survivor.container);  // the request may have been lost
    } else if (awaited != awaited_.end() && awaited->second.function) {
      adopt(awaited->second, survivor.devices, survivor.started);
      awaited_.erase(awaited);
    } else {
      spdlog::warn("container {} is not known here; it is ended", survivor.container.text());
      kill(survivor.container);
    }
    on_egress(survivor.container, survivor.egress_bytes);
  }
  driver_.after(kExitReports, [this] { give_up_on_awaited(); });
}

// The node never took the start, or tells the exit next.
void Containers::settle_missing(const NodeHello& hello) {
  std::set<ContainerId> there;
  for (const SurvivingContainer& survivor : hello.containers) there.insert(survivor.container);
  std::vector<ContainerId> missing;
  for (const auto& [id, container] : containers_) {
    if (!there.contains(id)) missing.push_back(id);
  }
  std::ranges::sort(missing);
  for (const ContainerId id : missing) {
    if (find(id)->started.us) {
      expect_exit(id);
    } else {
      driver_.handle(ContainerRefused{id});
    }
  }
}

void Containers::expect_exit(ContainerId id) {
  driver_.after(kExitReports, [this, id] {
    Container* container = find(id);
    if (!container || container->exited || !fleet_.is_connected()) return;
    ContainerExit exit;
    exit.container = id;
    exit.started = container->started;
    exit.at = driver_.now();
    exit.last_output = "the node does not know this container any more";
    finish(*container, std::move(exit));
  });
}

// The engine knows the pools of current versions. That of another one is declared beside them for
// as long as it takes to adopt the container, and is then retired with it. It asks for no
// containers of its own, and leaves the maximum of its function as it is.
void Containers::adopt(const Awaited& awaited, const std::vector<DeviceId>& devices, Time started,
                       Time ended) {
  const FunctionPtr& function = awaited.function;
  const App* app = catalog_.find_app(function->app_name);
  const auto current = app ? pool_specs(*app) : std::vector<PoolSpec>();
  const bool is_current = std::ranges::count(current, function->pool, &PoolSpec::pool) > 0;
  if (!is_current) {
    auto widened = current;
    widened.push_back(guest_pool(*function, current));
    driver_.handle(AppDeployed{function->app, std::move(widened)});
  }
  Container& container = add(awaited.record.id, function, fleet_.hello().node, devices);
  container.adopted = true;
  container.started = started;
  const Time billed_until = std::max(awaited.billed_until, started);
  driver_.handle(ContainerAdopted{container.id, function->pool, container.node, devices, started,
                                  billed_until, awaited.egress_billed_bytes, ended});
  if (is_current) return;
  if (current.empty()) {
    driver_.handle(AppStopped{function->app});
  } else {
    driver_.handle(AppDeployed{function->app, current});
  }
}

// It ended while no server was there to see, or while this one did not know of it.
void Containers::late_exit(ContainerExit exit) {
  if (settling_.contains(exit.container)) return;  // acknowledged when that is on disk
  if (const auto awaited = awaited_.find(exit.container); awaited != awaited_.end()) {
    if (!awaited->second.function) return node_.acknowledge_exit(exit.container);
    const Awaited known = std::move(awaited->second);
    awaited_.erase(awaited);
    return bill_late(known, std::move(exit));
  }
  if (asking_.insert(exit.container).second) ask_who_ended(std::move(exit));
}

void Containers::ask_who_ended(ContainerExit exit) {
  strangers_.identify(
      exit, [this, exit](const Result<Awaited>& identified) { bill_stranger(exit, identified); });
}

// To the end that the node saw.
void Containers::bill_late(const Awaited& awaited, ContainerExit exit) {
  adopt(awaited, exit.devices, awaited.record.started, exit.at);
  if (Container* container = find(exit.container)) finish(*container, std::move(exit));
}

// What the store cannot tell now it is asked again.
void Containers::bill_stranger(ContainerExit exit, const Result<Awaited>& identified) {
  const ContainerId id = exit.container;
  if (!identified.ok() && identified.error().code == ErrorCode::storage_failed) {
    return driver_.after(kAskAgain, [this, exit = std::move(exit)] { ask_who_ended(exit); });
  }
  asking_.erase(id);
  if (find(id) || settling_.contains(id) || !fleet_.is_connected()) return;
  if (identified.ok()) return bill_late(*identified, std::move(exit));
  const Error& error = identified.error();
  if (error.code != ErrorCode::conflict) {
    spdlog::warn("{} ended and cannot be billed: {}", id.text(), error.message);
  }
  if (error.code == ErrorCode::conflict || error.code == ErrorCode::not_found) {
    node_.acknowledge_exit(id);
  }
}

// Nobody saw their end, so nothing is billed after what is on disk.
void Containers::give_up_on_awaited() {
  for (auto& [id, awaited] : awaited_) {
    ContainerRecord record = awaited.record;
    record.ended = std::max(awaited.billed_until, record.started);
    record.exit = "lost while the server was down";
    biller_.container_ended(record, [] {});
  }
  awaited_.clear();
}

}  // namespace ember

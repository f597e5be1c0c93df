// What the node says, passed on.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "control/parts.h"

namespace ember {

// Until the recovery has ended the engine starts nothing, so no survivor's place is taken.
void LiveControl::on_hello(NodeHello hello) {
  Parts& parts = *parts_;
  const NodeId before = parts.fleet.hello().node;
  if (before && before != hello.node && !parts.node_is_lost) {
    parts.driver.handle(NodeLost{before});
    parts.node_is_lost = true;
  }
  parts.fleet.connected(hello);
  parts.node_is_lost = false;
  parts.containers.settle_missing(hello);
  parts.driver.handle(NodeJoined{hello.node, hello.capacity});
  parts.containers.settle_survivors(hello);
  parts.driver.handle(RecoveryEnded{});
  parts.mounts.end_all_but([&](ContainerId id) {
    return parts.containers.find(id) != nullptr ||
           std::ranges::count(hello.containers, id, &SurvivingContainer::container) > 0;
  });

  std::vector<ImageSpec> images;
  for (const auto& [name, app] : parts.catalog.apps()) {
    for (const FunctionPtr& function : app.all_functions()) images.push_back(function->spec.image);
  }
  parts.images.require(std::move(images), [](const Result<>& built) {
    if (!built) spdlog::warn("an image of a deployed app: {}", built.error().message);
  });
  parts.image_admin.keep_tidy();
}

void LiveControl::on_lost() {
  Parts& parts = *parts_;
  parts.fleet.disconnected();
  parts.images.on_node_lost();
  parts.mounts.on_node_lost();
  const std::uint64_t loss = ++parts.node_losses;
  parts.driver.after(parts.options.node_grace, [this, loss] {
    Parts& later = *parts_;
    if (later.fleet.is_connected() || later.node_losses != loss || later.node_is_lost) return;
    spdlog::warn("the node has not come back; its containers count as lost");
    later.node_is_lost = true;
    later.driver.handle(NodeLost{later.fleet.hello().node});
  });
}

void LiveControl::on_started(ContainerId container, Time at) {
  parts_->containers.on_started(container, at);
}

void LiveControl::on_refused(ContainerId container, std::string why) {
  parts_->containers.on_refused(container, why);
}

void LiveControl::on_egress(ContainerId container, std::int64_t total_bytes) {
  parts_->containers.on_egress(container, total_bytes);
}

void LiveControl::on_devices(std::vector<Device> devices, std::vector<std::string> missing) {
  Parts& parts = *parts_;
  for (const Device& device : devices) {
    const Device* before = parts.fleet.find_device(device.id);
    if (device.state != DeviceState::cordoned) continue;
    if (before != nullptr && before->state == DeviceState::cordoned) continue;
    spdlog::error("the device {} ({}) is cordoned: {}", device.id.text(), device.type,
                  device.reason);
  }
  parts.fleet.set_devices(std::move(devices), std::move(missing));
  parts.driver.handle(NodeJoined{parts.fleet.hello().node, parts.fleet.hello().capacity});
}

void LiveControl::on_exited(ContainerExit exit) { parts_->containers.on_exited(std::move(exit)); }

void LiveControl::on_runner(ContainerId container, UniqueFd socket) {
  parts_->containers.on_runner(container, std::move(socket));
}

void LiveControl::on_remounted(ContainerId container, std::string path, Result<> result) {
  parts_->mounts.on_remounted(container, path, result);
}

void LiveControl::on_exec_stream(ExecId exec, ExecStream stream, UniqueFd file) {
  parts_->execs.on_stream(exec, stream, std::move(file));
}

void LiveControl::on_exec_ended(ExecId exec, Result<ExecExit> exit) {
  parts_->execs.on_ended(exec, std::move(exit));
}

void LiveControl::on_inspected(std::uint64_t question, Result<std::string> answer) {
  const auto found = parts_->inspections.extract(question);
  if (!found.empty()) found.mapped()(std::move(answer));
}

void LiveControl::on_build_line(std::string image_id, std::string line) {
  parts_->images.on_line(image_id, line);
}

void LiveControl::on_image_answer(std::uint64_t query, Result<std::string> document) {
  parts_->image_admin.on_answer(query, std::move(document));
}

void LiveControl::on_built(std::string image_id, Result<> result) {
  parts_->images.on_built(image_id, result);
}

}  // namespace ember

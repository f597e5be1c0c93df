// What code in a container asks of the volumes that it mounts, over the runner's own socket.
#pragma once

#include "control/containers.h"
#include "control/volume_mounts.h"

namespace ember {

class VolumeRequests {
 public:
  VolumeRequests(VolumeMounts& mounts, Containers& containers)
      : mounts_(mounts), containers_(containers) {}

  // A Volume frame. The answer goes to the container's runner, as that of a call.
  void start(ContainerId container, const FrameHeader& header, const std::string& body);

 private:
  void answer(ContainerId container, std::uint64_t number, const Result<std::uint32_t>& version);

  VolumeMounts& mounts_;
  Containers& containers_;
};

}  // namespace ember

// What code in a container asks about variants of functions, over the runner's own socket.
#pragma once

#include "control/containers.h"
#include "control/variants.h"

namespace ember {

class VariantRequests {
 public:
  VariantRequests(Variants& variants, Containers& containers)
      : variants_(variants), containers_(containers) {}

  // A Variant frame. The answer goes to the container's runner, as that of a call.
  void start(ContainerId container, const FrameHeader& header, const std::string& body);

 private:
  void answer(ContainerId container, std::uint64_t number, Result<std::string> document);

  Variants& variants_;
  Containers& containers_;
};

}  // namespace ember

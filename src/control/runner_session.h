// One connection with the runner of a container: tells what comes in apart by kind.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "model/ids.h"
#include "node/runner_link.h"

namespace ember {

class RunnerEvents {
 public:
  virtual ~RunnerEvents() = default;
  virtual void on_runner_frame(ContainerId container, const FrameHeader& header,
                               std::string& body) = 0;
  // The session may be destroyed in it.
  virtual void on_runner_closed(ContainerId container, std::string_view why) = 0;
};

class RunnerSession final : public RunnerLinkObserver {
 public:
  RunnerSession(ContainerId container, std::unique_ptr<RunnerLink> link, RunnerEvents& events)
      : container_(container), link_(std::move(link)), events_(events) {}

  void start() { link_->start(this); }
  RunnerLink& link() { return *link_; }

  void on_frame(const FrameHeader& header, std::string& body) override {
    events_.on_runner_frame(container_, header, body);
  }
  void on_closed(std::string_view why) override { events_.on_runner_closed(container_, why); }

 private:
  const ContainerId container_;
  const std::unique_ptr<RunnerLink> link_;
  RunnerEvents& events_;
};

}  // namespace ember

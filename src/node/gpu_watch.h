// Looks after devices on a thread of its own, since the driver's calls block: waits for events of
// their health and reads now and then who uses them. What it sees is posted to the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "node/nvml.h"

namespace ember {

class GpuWatch {
 public:
  struct Handlers {  // called from the loop
    std::function<void(const GpuEvent&)> on_event;
    // One for each device, in their order; an error: it is lost or wants a reset.
    std::function<void(const std::vector<Result<GpuReadings>>&)> on_readings;
  };
  // Borrows `nvml`, which nobody else may call while the watch lives.
  GpuWatch(boost::asio::io_context& loop, const Nvml& nvml, std::vector<Gpu> gpus,
           Handlers handlers);
  ~GpuWatch();  // waits for the thread; no handler is called any more

 private:
  void run(const std::stop_token& stop);
  template <class Function>
  void post(Function function);

  boost::asio::io_context& loop_;
  const Nvml& nvml_;
  const std::vector<Gpu> gpus_;
  // Shared with what sits in the loop, which must not outlive the watch's owner.
  std::shared_ptr<const Handlers> handlers_;
  std::jthread thread_;
};

}  // namespace ember

#include "node/gpu_watch.h"

#include <boost/asio/post.hpp>
#include <condition_variable>
#include <mutex>

namespace ember {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kEventWaitMs = 250;
constexpr std::chrono::milliseconds kBetweenReadings{2000};

void wait_for_stop(const std::stop_token& stop, std::chrono::milliseconds limit) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait_for(lock, stop, limit, [] { return false; });
}

}  // namespace

GpuWatch::GpuWatch(boost::asio::io_context& loop, const Nvml& nvml, std::vector<Gpu> gpus,
                   Handlers handlers)
    : loop_(loop),
      nvml_(nvml),
      gpus_(std::move(gpus)),
      handlers_(std::make_shared<const Handlers>(std::move(handlers))),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

GpuWatch::~GpuWatch() {
  thread_.request_stop();
  thread_.join();
}

template <class Function>
void GpuWatch::post(Function function) {
  boost::asio::post(loop_, [weak = std::weak_ptr(handlers_), function = std::move(function)] {
    if (const auto handlers = weak.lock()) function(*handlers);
  });
}

void GpuWatch::run(const std::stop_token& stop) {
  auto next_readings = Clock::now() + kBetweenReadings;
  while (!stop.stop_requested()) {
    const auto event = nvml_.wait_for_event(kEventWaitMs);
    if (event.ok() && *event) {
      post([event = **event](const Handlers& handlers) { handlers.on_event(event); });
      continue;  // one rarely comes alone
    }
    // Without events (an old device) or with a sick driver the readings still tell who is lost.
    if (!event.ok()) wait_for_stop(stop, kBetweenReadings);
    if (Clock::now() < next_readings) continue;
    std::vector<Result<GpuReadings>> readings;
    for (const Gpu& gpu : gpus_) readings.push_back(nvml_.read(gpu));
    post([readings = std::move(readings)](const Handlers& handlers) {
      handlers.on_readings(readings);
    });
    next_readings = Clock::now() + kBetweenReadings;
  }
}

}  // namespace ember

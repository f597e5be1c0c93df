#include "node/network_worker.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <future>
#include <memory>

#include "base/assert.h"

namespace ember {

NetworkWorker::NetworkWorker() : given_(::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)) {
  EMBER_ASSERT(given_);
  thread_ = std::thread([this] { run(); });
}

NetworkWorker::~NetworkWorker() {
  post({});
  thread_.join();
}

void NetworkWorker::post(std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
  ::eventfd_write(given_.get(), 1);
}

void NetworkWorker::wait_for(std::function<void()> job) {
  // Shared: the worker may still be at it when the waiter goes on.
  const auto done = std::make_shared<std::promise<void>>();
  post([done, job = std::move(job)] {
    job();
    done->set_value();
  });
  done->get_future().wait();
}

void NetworkWorker::watch(UniqueFd descriptor, std::function<void(int)> on_readable) {
  watched_ = std::move(descriptor);
  on_readable_ = std::move(on_readable);
}

void NetworkWorker::run() {
  while (const auto job = next_job()) job();
}

std::function<void()> NetworkWorker::next_job() {
  for (;;) {
    // A descriptor of -1 is passed over.
    pollfd waiting[] = {{given_.get(), POLLIN, 0}, {watched_ ? watched_.get() : -1, POLLIN, 0}};
    if (::poll(waiting, 2, -1) < 0) continue;  // interrupted
    if (waiting[1].revents != 0) on_readable_(watched_.get());
    if (waiting[0].revents == 0) continue;
    eventfd_t one = 0;
    ::eventfd_read(given_.get(), &one);
    const std::lock_guard lock(mutex_);
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
  }
}

}  // namespace ember

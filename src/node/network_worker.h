// A thread that does one thing after another, apart from the loop: the kernel takes its time with
// interfaces, and a thread may visit another network namespace without taking the process along.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "node/unique_fd.h"

namespace ember {

class NetworkWorker {
 public:
  NetworkWorker();
  ~NetworkWorker();  // does what it was given before
  NetworkWorker(const NetworkWorker&) = delete;
  NetworkWorker& operator=(const NetworkWorker&) = delete;

  void post(std::function<void()> job);
  // From another thread: comes back when the job is done.
  void wait_for(std::function<void()> job);
  // From a job: calls back between jobs whenever the descriptor can be read.
  void watch(UniqueFd descriptor, std::function<void(int descriptor)> on_readable);

 private:
  void run();
  // Waits for a job, and looks after the watched descriptor meanwhile. An empty one ends it.
  std::function<void()> next_job();

  std::mutex mutex_;
  std::deque<std::function<void()>> jobs_;
  UniqueFd given_;  // counts jobs
  // The thread's own.
  UniqueFd watched_;
  std::function<void(int)> on_readable_;
  std::thread thread_;
};

}  // namespace ember

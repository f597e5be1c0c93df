// A thread with a connection of its own that looks while another one writes: what is on disk is
// seen at once, and no look waits for a commit.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "store/sqlite.h"

namespace ember {

class ReadThread {
 public:
  using Look = std::function<void(Database&)>;

  explicit ReadThread(Database database)
      : database_(std::move(database)), thread_([this] { run(); }) {}
  // Does what it was asked before.
  ~ReadThread() {
    {
      const std::lock_guard guard(mutex_);
      closing_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  ReadThread(const ReadThread&) = delete;
  ReadThread& operator=(const ReadThread&) = delete;

  void ask(Look look) {
    {
      const std::lock_guard guard(mutex_);
      queue_.push_back(std::move(look));
    }
    wake_.notify_one();
  }

 private:
  void run() {
    for (auto waiting = take(); !waiting.empty(); waiting = take()) {
      for (const Look& look : waiting) look(database_);
    }
  }
  // All that waits, in order; empty only at the end.
  std::deque<Look> take() {
    std::unique_lock guard(mutex_);
    wake_.wait(guard, [this] { return closing_ || !queue_.empty(); });
    return std::exchange(queue_, {});
  }

  Database database_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Look> queue_;  // guarded by mutex_
  bool closing_ = false;    // guarded by mutex_
  std::thread thread_;      // last: it starts when all else stands
};

}  // namespace ember

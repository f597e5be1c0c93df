// The large bodies that runners are in the middle of sending, all of them together: what has come
// of them is held until the rest is there, so a container that stops half-way keeps the memory.
// They share a number of bytes, first come, first served, and each has a time to be whole.
#pragma once

#include <cstddef>
#include <deque>

#include "base/time.h"

namespace ember {

class BodyBudget {
 public:
  class Waiter {
   public:
    virtual void on_room() = 0;  // the bytes are its own now

   protected:
    ~Waiter() = default;
  };

  // A body up to this size is not counted: so much each connection may hold.
  static constexpr std::size_t kFreeBytes = 1u << 20;
  // A socket of this machine's carries a hundred times as much.
  static constexpr std::int64_t kSlowestBytesPerSecond = 8 << 20;

  // At least as much as one body may have.
  explicit BodyBudget(std::size_t limit_bytes = 1u << 30, Duration grace = Duration::seconds(5))
      : free_bytes_(limit_bytes), grace_(grace) {}

  // How long a body may be on its way, and what it is given beyond that in case it was this process
  // that stood still.
  Duration patience(std::size_t bytes) const {
    return grace_ + Duration{static_cast<std::int64_t>(bytes) * 1'000'000 / kSlowestBytesPerSecond};
  }
  Duration grace() const { return grace_; }

  // False if it has to wait: until on_room(), or until it withdraws.
  bool take(std::size_t bytes, Waiter& waiter) {
    if (waiting_.empty() && bytes <= free_bytes_) {
      free_bytes_ -= bytes;
      return true;
    }
    waiting_.push_back({bytes, &waiter});
    return false;
  }
  void withdraw(const Waiter& waiter) {
    std::erase_if(waiting_, [&](const Waiting& one) { return one.waiter == &waiter; });
    grant();
  }
  void give_back(std::size_t bytes) {
    free_bytes_ += bytes;
    grant();
  }

 private:
  struct Waiting {
    std::size_t bytes;
    Waiter* waiter;
  };

  void grant() {
    while (!waiting_.empty() && waiting_.front().bytes <= free_bytes_) {
      const Waiting next = waiting_.front();
      waiting_.pop_front();
      free_bytes_ -= next.bytes;
      next.waiter->on_room();
    }
  }

  std::size_t free_bytes_;
  const Duration grace_;
  std::deque<Waiting> waiting_;
};

}  // namespace ember

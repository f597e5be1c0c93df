// The large bodies that runners are in the middle of sending, all of them together: what has come
// of them is held until the rest is there, so a container that stops half-way keeps the memory.
// They share a number of bytes, first come, first served, and each has a time to be whole.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>

#include "base/time.h"

namespace ember {

class BodyBudget {
 public:
  // Gives false if it is no longer wanted; the bytes are then the next one's.
  using Granted = std::function<bool()>;

  // A body up to this size is not counted: so much each connection may hold.
  static constexpr std::size_t kFreeBytes = 1u << 20;
  // A socket of this machine's carries a hundred times as much.
  static constexpr std::int64_t kSlowestBytesPerSecond = 8 << 20;

  // At least as much as one body may have.
  explicit BodyBudget(std::size_t limit_bytes = 1u << 30, Duration grace = Duration::seconds(5))
      : free_bytes_(limit_bytes), grace_(grace) {}

  // How long a body may be on its way.
  Duration patience(std::size_t bytes) const {
    return grace_ + Duration{static_cast<std::int64_t>(bytes) * 1'000'000 / kSlowestBytesPerSecond};
  }

  // False if the body has to wait; `granted` then comes from another's give_back().
  bool take(std::size_t bytes, Granted granted) {
    if (waiting_.empty() && bytes <= free_bytes_) {
      free_bytes_ -= bytes;
      return true;
    }
    waiting_.push_back({bytes, std::move(granted)});
    return false;
  }

  void give_back(std::size_t bytes) {
    free_bytes_ += bytes;
    while (!waiting_.empty() && waiting_.front().bytes <= free_bytes_) {
      const Waiting next = std::move(waiting_.front());
      waiting_.pop_front();
      if (next.granted()) free_bytes_ -= next.bytes;
    }
  }

 private:
  struct Waiting {
    std::size_t bytes;
    Granted granted;
  };

  std::size_t free_bytes_;
  const Duration grace_;
  std::deque<Waiting> waiting_;
};

}  // namespace ember

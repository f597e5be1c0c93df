// What is due when: a heap by time, then by the order of scheduling. It is the simulated clock.
// The heap sorts small entries; the tasks stay where they are.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/time.h"

namespace ember {

template <class Task>
class Agenda {
 public:
  explicit Agenda(Time start) : now_(start) {}

  Time now() const { return now_; }
  bool empty() const { return heap_.empty(); }
  Time next_time() const { return heap_.empty() ? Time::never() : heap_.front().at; }

  // A time that has passed means now.
  void at(Time time, Task task) {
    heap_.push_back({std::max(time, now_), next_sequence_++, keep(std::move(task))});
    std::push_heap(heap_.begin(), heap_.end(), Later{});
  }
  void after(Duration delay, Task task) { at(now_ + delay, std::move(task)); }

  // Moves the clock to the next task and takes it.
  Task pop() {
    EMBER_ASSERT(!heap_.empty());
    std::pop_heap(heap_.begin(), heap_.end(), Later{});
    const Entry entry = heap_.back();
    heap_.pop_back();
    now_ = entry.at;
    free_.push_back(entry.place);
    return std::move(tasks_[entry.place]);
  }

 private:
  struct Entry {
    Time at;
    std::uint64_t sequence;
    std::size_t place;  // of its task
  };
  struct Later {
    bool operator()(const Entry& a, const Entry& b) const {
      return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
    }
  };

  std::size_t keep(Task task) {
    if (free_.empty()) {
      tasks_.push_back(std::move(task));
      return tasks_.size() - 1;
    }
    const std::size_t place = free_.back();
    free_.pop_back();
    tasks_[place] = std::move(task);
    return place;
  }

  Time now_;
  std::uint64_t next_sequence_ = 0;
  std::vector<Entry> heap_;
  std::vector<Task> tasks_;
  std::vector<std::size_t> free_;  // places of tasks that are done
};

}  // namespace ember

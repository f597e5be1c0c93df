// What the driver itself wants done at a time: leases, grace periods, flushes. The engine has its
// own deadlines. A task that may have become pointless looks at the state when it runs.
#pragma once

#include <functional>
#include <map>

#include "base/time.h"

namespace ember {

class Agenda {
 public:
  using Task = std::function<void()>;

  void at(Time when, Task task) { tasks_.emplace(when, std::move(task)); }
  Time next() const { return tasks_.empty() ? Time::never() : tasks_.begin()->first; }
  // Runs what is due, oldest first, and what those tasks add if it is due too.
  void run_due(Time now) {
    while (!tasks_.empty() && tasks_.begin()->first <= now) {
      auto task = tasks_.extract(tasks_.begin());
      task.mapped()();
    }
  }

 private:
  std::multimap<Time, Task> tasks_;
};

}  // namespace ember

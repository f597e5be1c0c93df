// When inputs that wait for a batch have waited enough, while a slot is free for them.
//
// Holding a batch of k inputs back for a moment costs each of the k that moment. It gains something
// only if another input comes in it: that one need not wait until the batch has run. So waiting is
// worth while where the next input is expected within 1/(k+1) of the time that a batch runs. What
// is expected is told by the last gaps between inputs, and where none came for so long it was
// wrong. Under a steady load batches so become as large as what comes while one runs, and a
// container that has just ended one goes on at once; where inputs are rare none of them waits for
// another.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"
#include "model/function.h"

namespace ember {

class Gathering {
 public:
  // The first of those that wait has begun to.
  void begin(Time now) { since_ = now; }

  // An input has come, and has not been here before. A gap longer than a batch runs counts as no
  // longer than that, so that one pause is not taken for a lasting one.
  void arrived(Time now, const Batching& batching) {
    const std::int64_t most_us = knows_run() ? run_us() : batching.wait.us;
    const std::int64_t gap_us = std::min((now - last_).us, most_us);
    gap_us_x8_ = last_ == Time{} ? gap_us * 8 : gap_us_x8_ + gap_us - gap_us_x8_ / 8;
    last_ = now;
  }

  // A batch has run for so long.
  void ran(Duration time) {
    run_us_x8_ = knows_run() ? run_us_x8_ + time.us - run_us_x8_ / 8 : time.us * 8;
  }

  // When so many, fewer than a batch, are to go to a container that has nothing to do. Before the
  // first batch has run nobody knows what waiting gains: it is done for as long as it may be.
  Time due_on_idle(const Batching& batching, std::uint32_t waiting) const {
    const Time latest = due(batching);
    if (!knows_run()) return latest;
    const Duration worth{run_us() / (waiting + 1)};
    const Duration gap{gap_us_x8_ / 8};
    if (gap >= worth || last_ + gap >= latest) return since_;
    return std::min(latest, last_ + worth);
  }
  // The same where the container runs another batch: there is no hurry to go beside it.
  Time due(const Batching& batching) const { return since_ + batching.wait; }

  // For the hash.
  Time since() const { return since_; }
  Time last() const { return last_; }
  std::int64_t gap_us_x8() const { return gap_us_x8_; }
  std::int64_t run_us_x8() const { return run_us_x8_; }

 private:
  bool knows_run() const { return run_us_x8_ > 0; }
  std::int64_t run_us() const { return run_us_x8_ / 8; }

  Time since_;
  Time last_;                   // arrival
  std::int64_t gap_us_x8_ = 0;  // moving averages over about the last 8
  std::int64_t run_us_x8_ = 0;
};

}  // namespace ember

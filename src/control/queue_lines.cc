#include "control/queue_lines.h"

#include <algorithm>
#include <iterator>

namespace ember {
namespace {

constexpr Duration kRetry = Duration::seconds(1);

}  // namespace

std::shared_ptr<void> QueueLines::stand(SharedId queue, const std::string& partition, Wish wish,
                                        OnItems done) {
  const Key key{queue, partition};
  const std::uint64_t serial = ++last_serial_;
  lines_[key].getters.push_back(
      {serial, wish.most, driver_.now() + wish.patience, std::move(done)});
  ++waiting_;
  serve(key);
  if (wish.patience.us > 0) {
    driver_.after(wish.patience, [this, key, serial] { lapse(key, serial); });
  }
  return {this, [this, alive = std::weak_ptr(alive_), key, serial](void*) {
            if (!alive.expired()) leave(key, serial);
          }};
}

void QueueLines::wake(SharedId queue, const std::string& partition) {
  const Key key{queue, partition};
  if (lines_.contains(key)) serve(key);
}

void QueueLines::serve(const Key& key) {
  Line& line = lines_.at(key);
  line.is_to_take_again = line.is_taking;
  if (line.is_taking || line.getters.empty()) return;
  line.is_taking = true;
  std::int64_t most = 0;
  for (const Getter& getter : line.getters) {
    most = std::min(most + getter.most, kMaxItemsAtOnce);
  }
  store_.shared().change(QueueTake{key.first, key.second, most, driver_.now()},
                         background_.to_loop([this, key, last = line.getters.back().serial](
                                                 Result<SharedAnswer> answer) {
                           taken(key, last, std::move(answer));
                         }));
}

void QueueLines::taken(const Key& key, std::uint64_t last, Result<SharedAnswer> answer) {
  Line& line = lines_.at(key);
  Answers answers;
  QueueReturn rest{key.first, key.second, {}, {}};
  if (answer) {
    rest.items = std::move(answer->items);
    rest.expires = answer->expires;
    if (!rest.items.empty()) line.is_to_take_again = true;  // there may be more than these
    hand_out(line, rest.items, answers);
    dismiss_impatient(line, last, answers);
  } else {
    while (!line.getters.empty() && line.getters.front().serial <= last) {
      answers.emplace_back(pop(line, line.getters.begin()).done, answer.error());
    }
  }
  if (rest.items.empty()) {
    go_on(key);
  } else {
    give_back(key, std::move(rest));
  }
  give(std::move(answers));
}

void QueueLines::hand_out(Line& line, std::vector<SharedItem>& items, Answers& answers) {
  auto next = items.begin();
  while (next != items.end() && !line.getters.empty()) {
    Getter getter = pop(line, line.getters.begin());
    const auto count = std::min<std::int64_t>(getter.most, items.end() - next);
    SharedItems given;
    std::move(next, next + count, std::back_inserter(given.items));
    next += count;
    answers.emplace_back(std::move(getter.done), std::move(given));
  }
  items.erase(items.begin(), next);
}

// Of those whom the take was for.
void QueueLines::dismiss_impatient(Line& line, std::uint64_t last, Answers& answers) {
  for (auto getter = line.getters.begin(); getter != line.getters.end();) {
    if (getter->serial > last || getter->until > driver_.now()) {
      ++getter;
      continue;
    }
    const auto place = getter - line.getters.begin();
    answers.emplace_back(pop(line, getter).done, SharedItems{});
    getter = line.getters.begin() + place;
  }
}

// Until they are there again the line takes nothing, so that they come before what follows them.
void QueueLines::give_back(const Key& key, QueueReturn items) {
  store_.shared().change(
      items, background_.to_loop([this, key, items](const Result<SharedAnswer>& answer) {
        if (answer || answer.error().code == ErrorCode::not_found) return go_on(key);
        driver_.after(kRetry, [this, key, items] { give_back(key, items); });
      }));
}

void QueueLines::go_on(const Key& key) {
  Line& line = lines_.at(key);
  line.is_taking = false;
  if (line.is_to_take_again) serve(key);
  if (line.getters.empty() && !line.is_taking) lines_.erase(key);
}

// While a take is under way its answer decides.
void QueueLines::lapse(const Key& key, std::uint64_t serial) {
  const auto found = lines_.find(key);
  if (found == lines_.end() || found->second.is_taking) return;
  Line& line = found->second;
  const auto getter = std::ranges::find(line.getters, serial, &Getter::serial);
  if (getter == line.getters.end()) return;
  Answers answers;
  answers.emplace_back(pop(line, getter).done, SharedItems{});
  if (line.getters.empty()) lines_.erase(found);
  give(std::move(answers));
}

void QueueLines::leave(const Key& key, std::uint64_t serial) {
  const auto found = lines_.find(key);
  if (found == lines_.end()) return;
  Line& line = found->second;
  const auto getter = std::ranges::find(line.getters, serial, &Getter::serial);
  if (getter != line.getters.end()) pop(line, getter);
  if (line.getters.empty() && !line.is_taking) lines_.erase(found);
}

QueueLines::Getter QueueLines::pop(Line& line, std::deque<Getter>::iterator getter) {
  Getter popped = std::move(*getter);
  line.getters.erase(getter);
  --waiting_;
  return popped;
}

void QueueLines::fail(SharedId queue, const Error& why) {
  Answers answers;
  for (auto& [key, line] : lines_) {
    if (key.first != queue) continue;
    while (!line.getters.empty()) answers.emplace_back(pop(line, line.getters.begin()).done, why);
  }
  std::erase_if(
      lines_, [](const auto& one) { return one.second.getters.empty() && !one.second.is_taking; });
  give(std::move(answers));
}

void QueueLines::fail_all(const Error& why) {
  std::vector<SharedId> queues;
  for (const auto& [key, line] : lines_) queues.push_back(key.first);
  for (const SharedId queue : queues) fail(queue, why);
}

void QueueLines::give(Answers answers) {
  for (auto& [done, items] : answers) done(std::move(items));
}

}  // namespace ember

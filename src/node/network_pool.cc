#include "node/network_pool.h"

#include <utility>

namespace ember {

NetworkPool::NetworkPool(Options options) : options_(std::move(options)) {}

NetworkPool::~NetworkPool() {
  for (const Network& network : ready_) end(network.record);
}

void NetworkPool::fill() {
  if (!makes()) return;
  const std::size_t wanted = options_.spare + waiting_.size();
  const std::size_t there = ready_.size() + making_;
  for (std::size_t i = there; i < wanted; ++i) make();
}

void NetworkPool::take(std::function<void(Result<Network>)> done) {
  while (!ready_.empty() && !options_.chosen->lives(ready_.front().record)) {
    end(ready_.front().record);
    ready_.pop_front();
  }
  if (ready_.empty()) {
    waiting_.push_back(std::move(done));
    return fill();
  }
  Network network = std::move(ready_.front());
  ready_.pop_front();
  done(std::move(network));
  fill();
}

void NetworkPool::make() {
  ++making_;
  options_.chosen->make([this, alive = std::weak_ptr(alive_)](Result<Network> network) {
    if (!alive.expired()) made(std::move(network));
  });
}

// One that cannot be made fails who waits for it alone, and is tried again at the next take.
void NetworkPool::made(Result<Network> network) {
  --making_;
  if (waiting_.empty()) {
    if (network.ok()) ready_.push_back(std::move(*network));
    return;
  }
  const auto done = std::move(waiting_.front());
  waiting_.pop_front();
  if (network.ok()) return done(std::move(*network));
  done(std::move(network).error().within("network"));
}

NetworkMaker* NetworkPool::maker_of(const std::string& record) const {
  for (const auto& maker : options_.makers) {
    if (maker->knows(record)) return maker.get();
  }
  return nullptr;
}

void NetworkPool::narrow(const std::string& record, std::string who, Destinations destinations,
                         std::function<void(Result<>)> done) {
  const NetworkMaker* maker = maker_of(record);
  const auto way = maker != nullptr ? maker->way_out(record) : std::nullopt;
  if (!way) return done(Error{ErrorCode::unavailable, "the network has ended"});
  options_.lists->begin(record, std::move(who), *way, std::move(destinations), std::move(done));
}

bool NetworkPool::watch(const std::string& record, std::function<void()> on_end) {
  NetworkMaker* maker = maker_of(record);
  return maker != nullptr && maker->watch(record, std::move(on_end));
}

std::optional<std::int64_t> NetworkPool::egress_bytes(const std::string& record) const {
  const NetworkMaker* maker = maker_of(record);
  return maker != nullptr ? maker->egress_bytes(record) : std::nullopt;
}

void NetworkPool::end(const std::string& record) {
  NetworkMaker* maker = maker_of(record);
  if (maker == nullptr) return;
  // What is open in the namespace would hold it.
  options_.lists->end(record);
  maker->forget(record);
  maker->end(record);
}

void NetworkPool::end_strays(const std::set<std::string>& used) {
  for (const auto& maker : options_.makers) maker->end_all_but(used);
}

void NetworkPool::end_all() {
  ready_.clear();
  options_.lists->end_all();
  for (const auto& maker : options_.makers) maker->end_all();
}

}  // namespace ember

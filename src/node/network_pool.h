// The networks of a node's containers. A few are made ahead, so that no start waits for one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/egress_lists.h"
#include "node/network_maker.h"

namespace ember {

class NetworkPool {
 public:
  struct Options {
    std::vector<std::unique_ptr<NetworkMaker>> makers;  // of networks that may be met here
    NetworkMaker* chosen = nullptr;                     // of new ones; null: there are no new ones
    std::unique_ptr<EgressLists> lists;                 // of networks that are narrowed down
    std::size_t spare = 2;                              // made ahead
  };
  explicit NetworkPool(Options options);
  ~NetworkPool();  // ends those that nobody took

  bool makes() const { return options_.chosen != nullptr; }
  // Makes the spare ones; taking makes them as needed.
  void fill();
  // Calls back once, from the loop or at once.
  void take(std::function<void(Result<Network>)> done);

  // Has a network that was taken lead to these alone, until it ends: what it means stands with
  // EgressLists.
  void narrow(const std::string& record, std::string who, Destinations destinations,
              std::function<void(Result<>)> done);
  // Of a network that was taken, by its record; what they mean stands with NetworkMaker.
  bool watch(const std::string& record, std::function<void()> on_end);
  std::optional<std::int64_t> egress_bytes(const std::string& record) const;
  void end(const std::string& record);
  // Those that an earlier life of the node made and no container uses.
  void end_strays(const std::set<std::string>& used);
  void end_all();

 private:
  NetworkMaker* maker_of(const std::string& record) const;
  void make();
  void made(Result<Network> network);

  Options options_;
  std::size_t making_ = 0;
  std::deque<Network> ready_;
  std::deque<std::function<void(Result<Network>)>> waiting_;
  // Callbacks that still sit in the loop ask it whether the pool has gone.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace ember

// A container's network: a namespace of its own that leads to the internet. How one is made is a
// mechanism's business, one mechanism a file (veth_networks.h, slirp_networks.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ember {

// Containers send their questions for names there, whatever the mechanism.
inline constexpr const char* kNameServer = "10.0.2.3";

struct Network {
  std::string path;    // of the namespace
  std::string record;  // one line, by which a later life of the node knows it
};

// By what a network leads out: an interface in its namespace, and the neighbour there that takes
// everything on.
struct WayOut {
  std::string namespace_path;
  std::string interface;
  std::uint32_t gateway = 0;
};

class NetworkMaker {
 public:
  virtual ~NetworkMaker() = default;
  // Whether the record tells of a network that this mechanism made, in this life or an earlier one.
  virtual bool knows(std::string_view record) const = 0;
  // Calls back once, from the loop or at once.
  virtual void make(std::function<void(Result<Network>)> done) = 0;
  virtual bool lives(const std::string& record) const = 0;
  // Nothing once it has ended.
  virtual std::optional<WayOut> way_out(const std::string& record) const = 0;
  // Calls back from the loop when the network has ended, unless end() ended it or forget() was
  // called before. False: it has ended before.
  virtual bool watch(const std::string& record, std::function<void()> on_end) = 0;
  virtual void forget(const std::string& record) = 0;
  // What has left the network since it was made; nothing once it has ended.
  virtual std::optional<std::int64_t> egress_bytes(const std::string& record) const = 0;
  // Ends it, now or soon.
  virtual void end(const std::string& record) = 0;
  // Ends all of this node that are not among these, those of an earlier life too.
  virtual void end_all_but(const std::set<std::string>& used) = 0;
  // Comes back when all of this node have ended, and nothing of theirs is left on the machine.
  virtual void end_all() = 0;
};

}  // namespace ember

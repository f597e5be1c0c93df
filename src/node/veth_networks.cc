#include "node/veth_networks.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <spdlog/spdlog.h>
#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <filesystem>
#include <mutex>

#include "node/container_files.h"
#include "node/firewall.h"
#include "node/name_servers.h"
#include "node/netlink.h"
#include "node/network_worker.h"
#include "node/veth_pair.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = "veth ";  // begins a record; the interface's name follows
constexpr const char* kForwarding = "/proc/sys/net/ipv4/ip_forward";

// Eight digits that two nodes of one machine hardly share.
std::string digits_of(NodeId node) {
  constexpr std::uint64_t kSpread = 0x9e37'79b9'7f4a'7c15;
  char text[9];
  std::snprintf(text, sizeof(text), "%08x", static_cast<unsigned>((node.value * kSpread) >> 32));
  return text;
}

std::string name_of(std::string_view record) { return std::string(record.substr(kMark.size())); }

std::optional<std::uint32_t> address_of(const std::string& interface) {
  const UniqueFd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  if (!control || ::ioctl(control.get(), SIOCGIFADDR, &request) != 0) return std::nullopt;
  return ntohl(reinterpret_cast<const sockaddr_in&>(request.ifr_addr).sin_addr.s_addr);
}

// Says so, for it makes a router of the machine.
Result<> allow_forwarding() {
  if (read_file(kForwarding).value_or("").starts_with('1')) return Ok{};
  const UniqueFd file(::open(kForwarding, O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), "1", 1) != 1) {
    return {ErrorCode::unavailable, std::string("forwarding cannot be turned on: ") + kForwarding};
  }
  spdlog::warn(
      "net.ipv4.ip_forward has been turned on, and stays on: containers' traffic is forwarded");
  return Ok{};
}

class Veth final : public VethNetworks {
 public:
  Veth(boost::asio::io_context& loop, VethSetup setup)
      : loop_(loop),
        setup_(std::move(setup)),
        digits_(digits_of(setup_.node)),
        prefix_(veth_prefix_of(setup_.node)),
        netlink_(Netlink::open()) {}

  // What was made and not yet handed over is taken away again, and the firewall where nobody lives.
  ~Veth() override {
    worker_.wait_for([this] {
      for (const std::string& name : not_handed_over_) remove(name);
      if (range_.claim && names_on_machine().empty()) drop_firewall();
    });
  }

  bool knows(std::string_view record) const override {
    return record.starts_with(kMark) && name_of(record).starts_with(prefix_);
  }

  Result<> begin(const std::optional<Ipv4Network>& wanted_range) override {
    Result<> begun = Ok{};
    worker_.wait_for([&] { begun = get_ready(wanted_range); });
    return begun;
  }

  Result<> try_out() override {
    Result<> tried = Ok{};
    worker_.wait_for([&] {
      VethPair trial = pair_of(0);  // which no container gets
      trial.name = prefix_ + "try";
      tried = try_veth_pair(trial, "eo" + digits_);
    });
    return tried;
  }

  Ipv4Network range() const override { return range_.network; }

  void make(std::function<void(Result<Network>)> done) override {
    // The loop has something to wait for.
    const auto work = boost::asio::make_work_guard(loop_);
    worker_.post([this, work, done = std::move(done)]() mutable {
      auto name = make_one();
      boost::asio::post(loop_, [this, alive = std::weak_ptr(alive_), name = std::move(name),
                                done = std::move(done)] {
        if (alive.expired()) return;
        if (!name.ok()) return done(name.error());
        hand_over(*name);
        done(Network{path_of(*name), std::string(kMark) + *name});
      });
    });
  }

  bool lives(const std::string& record) const override {
    return netlink_.ok() && netlink_->received_bytes(name_of(record)).has_value();
  }

  // The pair's end here is the neighbour.
  std::optional<WayOut> way_out(const std::string& record) const override {
    const std::string name = name_of(record);
    const auto gateway = address_of(name);
    if (!gateway) return std::nullopt;
    return WayOut{path_of(name), kVethInContainer, *gateway};
  }

  // Nothing but the node's own orders ends it.
  bool watch(const std::string& record, std::function<void()>) override { return lives(record); }
  void forget(const std::string&) override {}

  // What has left the container is what has come in here.
  std::optional<std::int64_t> egress_bytes(const std::string& record) const override {
    return netlink_.ok() ? netlink_->received_bytes(name_of(record)) : std::nullopt;
  }

  void end(const std::string& record) override {
    worker_.post([this, name = name_of(record)] { remove(name); });
  }

  void end_all_but(const std::set<std::string>& used) override {
    worker_.wait_for([&] {
      std::size_t kept = 0;
      for (const std::string& name : names_on_machine()) {
        if (used.contains(std::string(kMark) + name)) {
          ++kept;
        } else {
          remove(name);
        }
      }
      if (kept == 0) drop_firewall();
    });
  }

  void end_all() override { end_all_but({}); }

 private:
  std::string table() const { return firewall_table_of(setup_.node); }
  std::string path_of(const std::string& name) const { return setup_.directory + "/" + name; }

  // --- on the worker's thread ---

  Result<> get_ready(const std::optional<Ipv4Network>& wanted_range) {
    firewall_.table = table();
    if (setup_.nft.empty()) return {ErrorCode::unavailable, "nftables is not installed"};
    if (auto found = find_places(wanted_range); !found.ok()) return found;
    if (auto standing = keep_firewall(); !standing.ok()) return standing;
    if (!firewall_stands()) {
      return {ErrorCode::unavailable, "rules of the firewall do not stand as they were put up"};
    }
    watch_firewall();
    return allow_forwarding();
  }

  // Where the kernel does not say, nobody is taken to have swept it.
  bool firewall_stands() const {
    const auto rules = firewall_rules(firewall_.table);
    return !rules || *rules == rules_;
  }

  Result<> find_places(const std::optional<Ipv4Network>& wanted_range) {
    auto netlink = Netlink::open();
    if (!netlink.ok()) return std::move(netlink).error();
    for (const std::string& stale : {prefix_ + "try", "eo" + digits_}) {
      (void)netlink->remove_link(stale).ok();
    }
    auto routes = netlink->routes();
    if (!routes.ok()) return std::move(routes).error();
    auto range = claim_container_range(wanted_range, *routes, prefix_);
    if (!range.ok()) return std::move(range).error();
    range_ = std::move(*range);
    mtu_bytes_ = netlink->internet_mtu_bytes().value_or(mtu_bytes_);
    firewall_.interfaces = prefix_;
    firewall_.containers = {range_.network};
    // Containers of an earlier life may be elsewhere.
    for (const Netlink::Route& route : *routes) {
      const bool ours = route.interface.starts_with(prefix_);
      if (ours && !range_.network.covers(route.to)) firewall_.containers.push_back(route.to);
    }
    firewall_.allowed = setup_.allowed;
    firewall_.name_server = *parse_network(kNameServer);
    std::error_code error;
    fs::create_directories(setup_.directory, error);
    if (error) return {ErrorCode::unavailable, setup_.directory + ": " + error.message()};
    return Ok{};
  }

  // Anew where somebody has swept the rules of the machine, or its name server is another now.
  Result<> keep_firewall() {
    const bool standing = firewall_wanted_ && firewall_stands();
    const auto resolver = find_resolver();
    if (!resolver.ok() && !firewall_wanted_) return resolver.error();
    if (standing && (!resolver.ok() || *resolver == firewall_.resolver)) return Ok{};
    if (resolver.ok()) firewall_.resolver = *resolver;
    auto put_up = put_up_firewall(setup_.nft, setup_.directory, firewall_);
    firewall_wanted_ |= put_up.ok();
    return put_up;
  }

  void drop_firewall() {
    firewall_wanted_ = false;
    take_down_firewall(setup_.nft, table());
  }

  // Whoever sweeps all rules of the machine, as a restart of its firewall does, sweeps these too,
  // and containers go on.
  void watch_firewall() {
    worker_.watch(open_firewall_events(), [this](int events) {
      drain_firewall_events(events);
      if (!firewall_wanted_ || firewall_stands()) return;
      spdlog::error("the rules around containers were changed by somebody else; putting them back");
      if (auto back = keep_firewall(); !back.ok()) {
        spdlog::error("containers' traffic is not held back: {}", back.error().message);
      }
    });
  }

  VethPair pair_of(std::uint32_t number) const {
    const std::string name = prefix_ + std::to_string(number);
    return {.name = name,
            .namespace_path = path_of(name),
            .machine_address = range_.machine_address(number),
            .container_address = range_.container_address(number),
            .mtu_bytes = mtu_bytes_};
  }

  // Numbers are used in turn, so that nothing that is late takes a network for the one before it.
  Result<std::string> make_one() {
    if (auto standing = keep_firewall(); !standing.ok()) return std::move(standing).error();
    std::vector<Ipv4Network> closed = closed_networks(machine_addresses(), setup_.allowed);
    Result<> made{ErrorCode::resource_exhausted, "all addresses of the range are taken"};
    for (std::uint32_t tries = 1; tries < range_.pairs(); ++tries) {
      const VethPair pair = pair_of(1 + next_++ % (range_.pairs() - 1));
      made = make_veth_pair(pair, closed);
      if (made.ok()) {
        const std::lock_guard lock(mutex_);
        not_handed_over_.insert(pair.name);
        return pair.name;
      }
      if (made.error().code != ErrorCode::conflict) break;
    }
    return std::move(made).error();
  }

  // Without the ends of veth pairs, which are many, and closed together with the range.
  std::vector<Ipv4Network> machine_addresses() const {
    std::vector<Ipv4Network> all = own_addresses();
    std::erase_if(all, [&](const Ipv4Network& one) { return range_.network.covers(one); });
    all.push_back(range_.network);
    return all;
  }

  void remove(const std::string& name) {
    auto netlink = Netlink::open();
    if (netlink.ok()) remove_veth_pair(*netlink, name, path_of(name));
  }

  std::set<std::string> names_on_machine() const {
    std::set<std::string> names;
    if (auto netlink = Netlink::open(); netlink.ok()) {
      for (std::string& name : netlink->links_named(prefix_)) names.insert(std::move(name));
    }
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(setup_.directory, ignored)) {
      std::string name = entry.path().filename().string();
      if (name.starts_with(prefix_)) names.insert(std::move(name));
    }
    return names;
  }

  void hand_over(const std::string& name) {
    const std::lock_guard lock(mutex_);
    not_handed_over_.erase(name);
  }

  boost::asio::io_context& loop_;
  const VethSetup setup_;
  const std::string digits_;
  const std::string prefix_;         // of the interfaces
  mutable Result<Netlink> netlink_;  // the loop's
  // The worker's, once begin() has come back.
  ContainerRange range_;
  Firewall firewall_;
  const std::size_t rules_ = firewall_rule_count();
  bool firewall_wanted_ = false;  // this life of the node has put it up
  std::uint32_t mtu_bytes_ = 1500;
  std::uint32_t next_ = 64u * static_cast<std::uint32_t>(::getpid());  // elsewhere in each life
  std::mutex mutex_;
  std::set<std::string> not_handed_over_;  // under the mutex
  // Callbacks that still sit in the loop ask it whether this has gone.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  NetworkWorker worker_;  // ends first
};

}  // namespace

std::string veth_prefix_of(NodeId node) { return "em" + digits_of(node) + "-"; }

std::string firewall_table_of(NodeId node) { return "ember_" + digits_of(node); }

std::unique_ptr<VethNetworks> make_veth_networks(boost::asio::io_context& loop, VethSetup setup) {
  return std::make_unique<Veth>(loop, std::move(setup));
}

}  // namespace ember

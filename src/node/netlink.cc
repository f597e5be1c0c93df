#include "node/netlink.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace ember {
namespace {

constexpr std::uint8_t kPairBits = 31, kWholeAddress = 32;
constexpr int kRoundsOfWaiting = 5000;  // a millisecond each
constexpr std::uint8_t kRuns = 6;       // IF_OPER_UP, in a header that net/if.h shuts out
// Shorter ones, as of a tunnel that takes all traffic, lead everywhere.
constexpr int kShortestRouteBits = 4;
constexpr std::size_t kBufferBytes = 32 << 10;  // of one answer; the kernel fills no more
constexpr int kDumpTries = 10;

// A request that is being written.
class Request {
 public:
  Request(int type, int flags) : header_(mnl_nlmsg_put_header(buffer_.data())) {
    header_->nlmsg_type = static_cast<std::uint16_t>(type);
    header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  }
  template <class Head>
  Head& head() {
    return *static_cast<Head*>(mnl_nlmsg_put_extra_header(header_, sizeof(Head)));
  }
  nlmsghdr* get() { return header_; }

 private:
  alignas(nlmsghdr) std::array<char, 4096> buffer_{};
  nlmsghdr* header_;
};

struct Collected {
  std::array<const nlattr*, 64> attributes{};
  const nlattr* operator[](std::size_t type) const { return attributes[type]; }
};

Collected collect(const nlmsghdr* message, std::size_t head_bytes) {
  Collected all;
  mnl_attr_parse(
      message, static_cast<unsigned>(head_bytes),
      [](const nlattr* attribute, void* into) {
        auto& attributes = static_cast<Collected*>(into)->attributes;
        const std::uint16_t type = mnl_attr_get_type(attribute);
        if (type < attributes.size()) attributes[type] = attribute;
        return MNL_CB_OK;
      },
      &all);
  return all;
}

Error no_interface(const std::string& name) {
  return {ErrorCode::not_found, "interface " + name + ": " + std::strerror(errno)};
}

}  // namespace

void Netlink::Close::operator()(mnl_socket* socket) const { mnl_socket_close(socket); }

Result<Netlink> Netlink::open() {
  mnl_socket* socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
  if (socket == nullptr) {
    return {ErrorCode::unavailable, std::string("netlink: ") + std::strerror(errno)};
  }
  Netlink made(socket);
  if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
    return {ErrorCode::unavailable, std::string("netlink: ") + std::strerror(errno)};
  }
  return made;
}

// Sends it and reads what comes back, to its end.
template <class OnMessage>
Result<> Netlink::talk(nlmsghdr* request, OnMessage on_message) {
  request->nlmsg_seq = ++sequence_;
  const unsigned port = mnl_socket_get_portid(socket_.get());
  const auto call = [](const nlmsghdr* message, void* function) {
    (*static_cast<OnMessage*>(function))(message);
    return MNL_CB_OK;
  };
  int state = MNL_CB_OK;
  if (mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0) state = MNL_CB_ERROR;
  std::vector<char> buffer(kBufferBytes);
  while (state > MNL_CB_STOP) {
    const ssize_t got = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
    state = got < 0 ? MNL_CB_ERROR
                    : mnl_cb_run(buffer.data(), static_cast<std::size_t>(got), sequence_, port,
                                 call, &on_message);
  }
  if (state != MNL_CB_ERROR) return Ok{};
  const int why = errno;
  // The rest of an answer would be taken for the next one's.
  if (auto fresh = open(); fresh.ok()) socket_ = std::move(fresh->socket_);
  errno = why;
  return {ErrorCode::unavailable, std::strerror(why)};
}

template <class Begin, class OnMessage>
Result<> Netlink::dump(nlmsghdr* request, Begin begin, OnMessage on_message) {
  for (int tries = 1;; ++tries) {
    begin();
    auto read = talk(request, on_message);
    if (read.ok() || errno != EINTR || tries == kDumpTries) return read;
  }
}

Result<> Netlink::order(nlmsghdr* request) {
  request->nlmsg_flags |= NLM_F_ACK;
  return talk(request, [](const nlmsghdr*) {});
}

Result<> Netlink::add_veth(const Pair& pair) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  nlmsghdr* message = request.get();
  request.head<ifinfomsg>();
  mnl_attr_put_strz(message, IFLA_IFNAME, pair.name.c_str());
  mnl_attr_put_u32(message, IFLA_MTU, pair.mtu_bytes);
  nlattr* info = mnl_attr_nest_start(message, IFLA_LINKINFO);
  mnl_attr_put_strz(message, IFLA_INFO_KIND, "veth");
  nlattr* data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
  nlattr* of_peer = mnl_attr_nest_start(message, VETH_INFO_PEER);
  request.head<ifinfomsg>();
  mnl_attr_put_strz(message, IFLA_IFNAME, pair.peer.c_str());
  mnl_attr_put_u32(message, IFLA_MTU, pair.mtu_bytes);
  mnl_attr_put_u32(message, IFLA_NET_NS_FD, static_cast<std::uint32_t>(pair.peer_namespace));
  mnl_attr_nest_end(message, of_peer);
  mnl_attr_nest_end(message, data);
  mnl_attr_nest_end(message, info);
  auto added = order(message);
  if (added.ok()) return added;
  const ErrorCode code = errno == EEXIST ? ErrorCode::conflict : ErrorCode::unavailable;
  return {code, "add veth " + pair.name + ": " + added.error().message};
}

Result<> Netlink::remove_link(const std::string& name) {
  Request request(RTM_DELLINK, 0);
  request.head<ifinfomsg>();
  mnl_attr_put_strz(request.get(), IFLA_IFNAME, name.c_str());
  return order(request.get());
}

Result<> Netlink::take_up(const std::string& name) {
  Request request(RTM_NEWLINK, 0);
  ifinfomsg& link = request.head<ifinfomsg>();
  link.ifi_flags = IFF_UP;
  link.ifi_change = IFF_UP;
  mnl_attr_put_strz(request.get(), IFLA_IFNAME, name.c_str());
  return order(request.get());
}

Result<> Netlink::wait_until_it_runs(const std::string& name) {
  for (int round = 0; round < kRoundsOfWaiting; ++round) {
    Request request(RTM_GETLINK, NLM_F_ACK);
    request.head<ifinfomsg>();
    mnl_attr_put_strz(request.get(), IFLA_IFNAME, name.c_str());
    bool runs = false;
    auto looked = talk(request.get(), [&](const nlmsghdr* message) {
      const nlattr* found = collect(message, sizeof(ifinfomsg))[IFLA_OPERSTATE];
      runs = found != nullptr && mnl_attr_get_u8(found) == kRuns;
    });
    if (!looked.ok() || runs) return looked;
    ::usleep(1000);
  }
  return {ErrorCode::unavailable, "interface " + name + " does not begin to run"};
}

Result<> Netlink::add_address(const std::string& name, std::uint32_t address) {
  return add_address(name, {address, kPairBits, RT_SCOPE_UNIVERSE});
}

Result<> Netlink::add_lone_address(const std::string& name, std::uint32_t address) {
  return add_address(name, {address, kWholeAddress, RT_SCOPE_HOST});
}

Result<> Netlink::add_address(const std::string& name, const Address& address) {
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) return no_interface(name);
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  ifaddrmsg& head = request.head<ifaddrmsg>();
  head.ifa_family = AF_INET;
  head.ifa_prefixlen = address.prefix_bits;
  head.ifa_scope = address.scope;
  head.ifa_index = index;
  mnl_attr_put_u32(request.get(), IFA_LOCAL, htonl(address.address));
  mnl_attr_put_u32(request.get(), IFA_ADDRESS, htonl(address.address));
  auto added = order(request.get());
  if (!added.ok() && errno == EEXIST) return {ErrorCode::conflict, added.error().message};
  return added;
}

Result<> Netlink::add_route(const Ipv4Network& to, std::uint32_t through) {
  Request request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  rtmsg& head = request.head<rtmsg>();
  head.rtm_family = AF_INET;
  head.rtm_dst_len = static_cast<unsigned char>(to.prefix_bits);
  head.rtm_table = RT_TABLE_MAIN;
  head.rtm_protocol = RTPROT_STATIC;
  head.rtm_scope = RT_SCOPE_UNIVERSE;
  head.rtm_type = RTN_UNICAST;
  if (to.prefix_bits > 0) mnl_attr_put_u32(request.get(), RTA_DST, htonl(to.address));
  mnl_attr_put_u32(request.get(), RTA_GATEWAY, htonl(through));
  auto added = order(request.get());
  if (!added.ok() && errno == EEXIST) return {ErrorCode::conflict, added.error().message};
  return added;
}

Result<> Netlink::remove_route(const Ipv4Network& to) {
  Request request(RTM_DELROUTE, 0);
  rtmsg& head = request.head<rtmsg>();
  head.rtm_family = AF_INET;
  head.rtm_dst_len = static_cast<unsigned char>(to.prefix_bits);
  head.rtm_table = RT_TABLE_MAIN;
  head.rtm_scope = RT_SCOPE_NOWHERE;
  mnl_attr_put_u32(request.get(), RTA_DST, htonl(to.address));
  auto removed = order(request.get());
  if (!removed.ok() && errno == ESRCH) return {ErrorCode::not_found, removed.error().message};
  return removed;
}

std::optional<std::int64_t> Netlink::received_bytes(const std::string& name) {
  Request request(RTM_GETLINK, NLM_F_ACK);
  request.head<ifinfomsg>();
  mnl_attr_put_strz(request.get(), IFLA_IFNAME, name.c_str());
  std::optional<std::int64_t> bytes;
  (void)talk(request.get(), [&](const nlmsghdr* message) {
    const nlattr* found = collect(message, sizeof(ifinfomsg))[IFLA_STATS64];
    if (found == nullptr || mnl_attr_get_payload_len(found) < sizeof(rtnl_link_stats64)) return;
    rtnl_link_stats64 counters;
    std::memcpy(&counters, mnl_attr_get_payload(found), sizeof(counters));
    bytes = static_cast<std::int64_t>(counters.rx_bytes);
  }).ok();
  return bytes;
}

std::vector<std::string> Netlink::links_named(std::string_view prefix) {
  Request request(RTM_GETLINK, NLM_F_DUMP);
  request.head<ifinfomsg>();
  std::vector<std::string> names;
  const auto begin = [&] { names.clear(); };
  (void)dump(request.get(), begin, [&](const nlmsghdr* message) {
    const nlattr* found = collect(message, sizeof(ifinfomsg))[IFLA_IFNAME];
    if (found == nullptr) return;
    const std::string_view name = mnl_attr_get_str(found);
    if (name.starts_with(prefix)) names.emplace_back(name);
  }).ok();
  return names;
}

std::optional<std::uint32_t> Netlink::internet_mtu_bytes() {
  constexpr std::uint32_t kAnywhere = 0x0101'0101;
  Request route(RTM_GETROUTE, NLM_F_ACK);
  rtmsg& head = route.head<rtmsg>();
  head.rtm_family = AF_INET;
  head.rtm_dst_len = 32;
  mnl_attr_put_u32(route.get(), RTA_DST, htonl(kAnywhere));
  std::uint32_t interface = 0;
  (void)talk(route.get(), [&](const nlmsghdr* message) {
    const nlattr* found = collect(message, sizeof(rtmsg))[RTA_OIF];
    if (found != nullptr) interface = mnl_attr_get_u32(found);
  }).ok();
  if (interface == 0) return std::nullopt;
  Request link(RTM_GETLINK, NLM_F_ACK);
  link.head<ifinfomsg>().ifi_index = static_cast<int>(interface);
  std::optional<std::uint32_t> bytes;
  (void)talk(link.get(), [&](const nlmsghdr* message) {
    const nlattr* found = collect(message, sizeof(ifinfomsg))[IFLA_MTU];
    if (found != nullptr) bytes = mnl_attr_get_u32(found);
  }).ok();
  return bytes;
}

Result<std::vector<Netlink::Route>> Netlink::routes() {
  Request request(RTM_GETROUTE, NLM_F_DUMP);
  request.head<rtmsg>().rtm_family = AF_INET;
  std::vector<Route> all;
  const auto begin = [&] { all.clear(); };
  auto read = dump(request.get(), begin, [&](const nlmsghdr* message) {
    const auto* head = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
    const Collected attributes = collect(message, sizeof(rtmsg));
    if (head->rtm_family != AF_INET || attributes[RTA_DST] == nullptr) return;
    if (head->rtm_dst_len < kShortestRouteBits) return;
    const std::uint32_t address = ntohl(mnl_attr_get_u32(attributes[RTA_DST]));
    char name[IF_NAMESIZE] = {};
    if (attributes[RTA_OIF] != nullptr) {
      ::if_indextoname(mnl_attr_get_u32(attributes[RTA_OIF]), name);
    }
    all.push_back({{address, head->rtm_dst_len}, name});
  });
  if (!read.ok()) return std::move(read).error();
  return all;
}

}  // namespace ember

#include "node/firewall.h"

#include <netinet/in.h>  // before the kernel's own, which gives way to it

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <sstream>

#include "node/container_files.h"
#include "node/process_table.h"

namespace ember {
namespace {

constexpr int kWholeAddress = 32;
// Of one container at once: the machine's table of connections is for all.
constexpr int kMostConnections = 4096;
constexpr std::size_t kNetlinkBytes = 32 << 10;  // libmnl's advice is 8 KiB or a page
constexpr int kCountTries = 10;
constexpr std::uint16_t kRulesOf = NFNL_SUBSYS_NFTABLES << 8;

std::string elements(const std::vector<Ipv4Network>& networks) {
  std::string text;
  for (const Ipv4Network& network : networks) text += (text.empty() ? "" : ", ") + network.text();
  return text.empty() ? "" : " elements = { " + text + " };";
}

std::string address_of(const Ipv4Network& one) {
  const std::string text = one.text();
  return text.substr(0, text.find('/'));
}

// Closed to containers: other than in their namespaces, this machine's addresses are not listed,
// for the kernel knows them.
std::vector<Ipv4Network> closed_of(const Firewall& firewall) {
  return closed_networks({}, firewall.allowed);
}

// By their own names alone, as in the namespaces.
std::vector<Ipv4Network> opened_addresses(const Firewall& firewall) {
  std::vector<Ipv4Network> all;
  for (const Ipv4Network& one : firewall.allowed) {
    if (one.prefix_bits == kWholeAddress) all.push_back(one);
  }
  return all;
}

// Runs it to its end; what it said, if it failed.
Result<> run(std::vector<std::string> argv) {
  const UniqueFd said(::memfd_create("output", MFD_CLOEXEC));
  Command command;
  command.argv = std::move(argv);
  command.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  command.output = said.get();
  const auto pid = spawn(command);
  if (!pid.ok()) return pid.error();
  int status = -1;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) continue;
  if (status == 0) return Ok{};
  std::string text(500, '\0');
  const ssize_t got = ::pread(said.get(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return {ErrorCode::unavailable, "nft: " + text.substr(0, text.find('\n'))};
}

}  // namespace

std::string firewall_text(const Firewall& firewall) {
  const std::string ours = "\"" + firewall.interfaces + "*\"";
  const std::string server = address_of(firewall.name_server);
  const std::string asked = "ip daddr " + server + " meta l4proto { tcp, udp } th dport 53";
  const std::string few = "iifname " + ours +
                          " ct state new add @connections { ip saddr ct count over " +
                          std::to_string(kMostConnections) + " } counter drop";
  return "add table inet " + firewall.table + "\ndelete table inet " + firewall.table +
         "\ntable inet " + firewall.table + " {\n" +
         "  set containers { type ipv4_addr; flags interval; auto-merge;" +
         elements(firewall.containers) + " }\n" + "  set opened { type ipv4_addr; flags interval;" +
         elements(opened_addresses(firewall)) + " }\n" +
         "  set closed { type ipv4_addr; flags interval; auto-merge;" +
         elements(closed_of(firewall)) + " }\n" +
         "  set connections { type ipv4_addr; size 65535; flags dynamic; }\n"
         "  chain from_containers {\n"
         "    type filter hook prerouting priority raw; policy accept;\n"
         "    iifname != " +
         ours +
         " accept\n"
         "    meta nfproto != ipv4 counter drop\n"
         "    fib saddr . iif oif missing counter drop\n"
         "    " +
         asked +
         " accept\n"
         "    ip daddr @containers counter drop\n"
         "    ip daddr @opened accept\n"
         "    fib daddr type != unicast counter drop\n"
         "    ip daddr @closed counter drop\n"
         "  }\n"
         "  chain names {\n"
         "    type nat hook prerouting priority dstnat; policy accept;\n"
         "    iifname " +
         ours + " " + asked + " dnat ip to " + address_of(firewall.resolver) +
         "\n"
         "  }\n"
         "  chain out {\n"
         "    type nat hook postrouting priority srcnat; policy accept;\n"
         "    ip saddr @containers oifname != " +
         ours +
         " masquerade\n"
         "  }\n"
         "  chain to_containers {\n"
         "    type filter hook forward priority filter; policy accept;\n"
         "    oifname " +
         ours +
         " ct state != { established, related } counter drop\n"
         "    iifname " +
         ours +
         " ct state invalid counter drop\n"
         "    " +
         few +
         "\n"
         "  }\n"
         "  chain into_this_machine {\n"
         "    type filter hook input priority filter; policy accept;\n"
         "    " +
         few +
         "\n"
         "  }\n"
         "  chain from_this_machine {\n"
         "    type filter hook output priority filter; policy accept;\n"
         "    oifname " +
         ours +
         " ct state != { established, related } counter drop\n"
         "  }\n"
         "}\n";
}

std::size_t firewall_rule_count() {
  std::istringstream lines(firewall_text({}));
  std::size_t rules = 0;
  // In chains each line is a rule, but for the first.
  for (std::string line; std::getline(lines, line);) {
    rules += line.starts_with("    ") && !line.starts_with("    type ");
  }
  return rules;
}

Result<> put_up_firewall(const std::string& nft, const std::string& directory,
                         const Firewall& firewall) {
  const std::string path = directory + "/firewall.nft";
  if (auto written = write_file(path, firewall_text(firewall), 0600); !written.ok()) return written;
  return run({nft, "-f", path});
}

void take_down_firewall(const std::string& nft, const std::string& table) {
  if (firewall_rules(table) != 0) (void)run({nft, "delete", "table", "inet", table}).ok();
}

namespace {

// 0 where there is no such table; nothing: errno says why.
std::optional<std::size_t> try_count_rules(const std::string& table) {
  const std::unique_ptr<mnl_socket, int (*)(mnl_socket*)> socket(
      mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC), mnl_socket_close);
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) != 0) return std::nullopt;
  alignas(nlmsghdr) std::array<char, kNetlinkBytes> buffer{};
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = kRulesOf | NFT_MSG_GETRULE;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  auto* head = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(nfgenmsg)));
  head->nfgen_family = NFPROTO_INET;
  mnl_attr_put_strz(request, NFTA_RULE_TABLE, table.c_str());
  if (mnl_socket_sendto(socket.get(), request, request->nlmsg_len) <= 0) return std::nullopt;
  const auto count = [](const nlmsghdr* message, void* rules) {
    if (message->nlmsg_type == (kRulesOf | NFT_MSG_NEWRULE)) ++*static_cast<std::size_t*>(rules);
    return MNL_CB_OK;
  };
  std::size_t rules = 0;
  for (int more = MNL_CB_OK; more == MNL_CB_OK;) {
    const ssize_t got = mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    more = got <= 0 ? MNL_CB_ERROR
                    : mnl_cb_run(buffer.data(), static_cast<std::size_t>(got), 0,
                                 mnl_socket_get_portid(socket.get()), count, &rules);
    if (more == MNL_CB_ERROR && errno == ENOENT) return 0;
    if (more == MNL_CB_ERROR) return std::nullopt;
  }
  return rules;
}

}  // namespace

std::optional<std::size_t> firewall_rules(const std::string& table) {
  for (int tries = 1;; ++tries) {
    const auto rules = try_count_rules(table);
    const bool changed_meanwhile = !rules && errno == EINTR;
    if (!changed_meanwhile || tries == kCountTries) return rules;
  }
}

UniqueFd open_firewall_events() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1u << (NFNLGRP_NFTABLES - 1);
  const auto* at = reinterpret_cast<const sockaddr*>(&address);
  if (!socket || ::bind(socket.get(), at, sizeof(address)) != 0) return {};
  return socket;
}

void drain_firewall_events(int socket) {
  std::array<char, kNetlinkBytes> buffer;
  // One that overran has lost events: no matter, for what stands is looked at anew.
  while (::recv(socket, buffer.data(), buffer.size(), 0) >= 0 || errno == ENOBUFS) {
  }
}

}  // namespace ember

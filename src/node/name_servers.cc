#include "node/name_servers.h"

#include <sstream>

#include "node/container_files.h"

namespace ember {

namespace {
constexpr Ipv4Network kLoopback{0x7f00'0000, 8};
}  // namespace

std::vector<Ipv4Network> name_servers(const std::string& path) {
  std::vector<Ipv4Network> all;
  std::istringstream lines(read_file(path).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word, address;
    words >> word >> address;
    const auto server = parse_network(address);
    if (word == "nameserver" && server.ok()) all.push_back(*server);
  }
  return all;
}

Result<Ipv4Network> find_resolver() {
  for (const char* path : {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}) {
    for (const Ipv4Network& server : name_servers(path)) {
      if (!kLoopback.covers(server)) return server;
    }
  }
  return {ErrorCode::unavailable,
          "this machine's name servers have no IPv4 address that containers could be led to"};
}

}  // namespace ember

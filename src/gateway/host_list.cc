#include "gateway/host_list.h"

#include <algorithm>

namespace ember {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return result;
}

std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

}  // namespace

bool is_loopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1" || address == "localhost";
}

HostList::HostList(std::string_view listen_address, std::vector<std::string> names)
    : any_(!is_loopback(listen_address)), names_{"localhost", "127.0.0.1", "[::1]"} {
  for (const std::string& name : names) names_.push_back(lower(name));
  if (listen_address.starts_with("127.")) names_.emplace_back(listen_address);
}

bool HostList::allows(std::string_view host) const {
  if (any_) return true;
  const std::string_view name = without_port(host);
  // The way most clients come; spares the copy.
  if (name == "127.0.0.1" || name == "localhost") return true;
  return std::find(names_.begin(), names_.end(), lower(name)) != names_.end();
}

}  // namespace ember
